"""`python -m benchmarks.recipe_images`: what a pretraining on pictures is worth in a fixed time.

Letters and digits in many fonts are learnt with their classes, from random weights; then a linear probe learns other
digits, written by hand, from few labels on the frozen vectors. That the probe is right is what counts: a contender is
asked after the whole time and after parts of it (each a run of its own), so one can see in which share of the time
another's result is reached. Every result is kept in `--results`, and the same command goes on.

patchword       patchword-image-tiny with its recipe
Trainer         transformers' Trainer on a ViT of the same sizes with what its arguments default to: batches of 8, 5e-5
Trainer, tuned  batches of 64, 1e-3 with a tenth of warm-up
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.few_labels import Rows, read
from benchmarks.kept import Kept
from benchmarks.timed_trainer import train_for

PRESET = "patchword-image-tiny"
METHODS = ("patchword", "Trainer", "Trainer, tuned")
SIDE, PATCH = 32, 4
_DRAWS = 3


@dataclass(frozen=True)
class Result:
    """One contender with one seed in one budget."""

    method: str
    seed: int
    seconds: float
    accuracy: float
    """Of the classes that it learnt, in other fonts."""
    probe: float
    """Of the digits, by a linear probe; the mean over draws of the labels."""
    pictures: int
    """Learnt from, each as often as it was."""

    @property
    def key(self) -> tuple[str, int, float]:
        """What it is a result of."""
        return self.method, self.seed, self.seconds


def patchword(seed: int, seconds: float, data: Path, folder: Path) -> tuple[Path, int]:
    """`pw.pretrain`; the folder, and how many pictures it read."""
    import patchword as pw
    from patchword.models.config import PatchConfig

    run = pw.pretrain(
        data / "glyphs-train.parquet",
        model=PRESET,
        out=folder / "run",
        image_size=SIDE,
        patch_size=PATCH,
        minutes=seconds / 60,
        seed=seed,
        quiet=True,
    )
    config = run.model.config
    assert isinstance(config, PatchConfig)
    return run.folder, round(run.report["tokens"] / config.tokens)


def trainer(method: str, seed: int, seconds: float, train: Rows, folder: Path) -> tuple[Path, int]:
    """transformers' Trainer; the folder, and how many pictures it read."""
    import torch
    from PIL import Image
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in train.inputs]
    pixels = np.stack([np.asarray(picture) for picture in opened])

    def collate(rows: Sequence[int]) -> dict[str, torch.Tensor]:
        found = torch.from_numpy(pixels[list(rows)]).permute(0, 3, 1, 2).float() / 127.5 - 1
        return {"pixel_values": found, "labels": torch.from_numpy(train.targets[list(rows)])}

    better: dict[str, Any] = {}
    if method != "Trainer":
        better = {"per_device_train_batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 0.1}
    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 512, "image_size": SIDE, "patch_size": PATCH}
    sizes |= {"num_hidden_layers": 4, "num_attention_heads": 2, "num_labels": len(train.names)}
    model, steps, _ = train_for(
        seconds,
        lambda: ViTForImageClassification(ViTConfig(**sizes)),
        range(len(train.inputs)),
        collate,
        seed=seed,
        folder=folder,
        **better,
    )
    model.config.id2label = dict(enumerate(train.names))
    model.config.label2id = {name: number for number, name in enumerate(train.names)}
    for part in (model, processor):
        part.save_pretrained(folder / "run")
    return folder / "run", steps * better.get("per_device_train_batch_size", 8)


def judged(folder: Path, count: int) -> tuple[float, float]:
    """(accuracy in fonts that were not seen, of a probe on so many labels of digits)."""
    import patchword as pw
    from patchword.study.labels import probe

    model = pw.load(folder)
    glyphs, digits, test = read("glyphs", "test"), read("digits", "train"), read("digits", "test")
    names = [row["label"] for row in model.predict(list(glyphs.inputs))]
    accuracy = float(np.mean(np.array(names) == np.array(glyphs.names)[glyphs.targets]))
    draws = [digits.draw(count, seed) for seed in range(_DRAWS)]
    of_test = model.features(list(test.inputs))
    found = [probe(model.features(list(draw.inputs)), draw.targets, of_test) for draw in draws]
    return accuracy, float(np.mean([(guess == test.targets).mean() for guess in found]))


def table(results: Sequence[Result]) -> str:
    """A row for each contender and budget."""
    lines = [
        "| | seconds | letters and digits in other fonts, % | digits by hand, probe, % | pictures read |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for method, seconds in dict.fromkeys((result.method, result.seconds) for result in results):
        found = [result for result in results if (result.method, result.seconds) == (method, seconds)]
        cells = []
        for name in ("accuracy", "probe"):
            values = [100 * getattr(result, name) for result in found]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        pictures = statistics.mean(result.pictures for result in found)
        lines.append(f"| {method} | {seconds:g} | {' | '.join(cells)} | {pictures:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing in the results, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe_images", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", nargs="+", type=float, default=[60.0, 240.0], help="budgets (60 and 240)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--labels", type=int, default=100, help="digits that the probe learns from (100)")
    parser.add_argument("--results", type=Path, default=Path("recipe-images.jsonl"), help="kept here, and gone on with")
    given = parser.parse_args()
    data, train = Path(os.environ["PATCHWORD_DATA"]), read("glyphs", "train")
    kept = Kept(given.results, Result)
    for seconds in given.seconds:
        for seed in range(given.seeds):
            for method in given.methods:
                if (method, seed, seconds) in kept:
                    continue
                with tempfile.TemporaryDirectory(prefix="recipe-") as name:
                    folder = Path(name)
                    if method == "patchword":
                        made, pictures = patchword(seed, seconds, data, folder)
                    else:
                        made, pictures = trainer(method, seed, seconds, train, folder)
                    result = Result(method, seed, seconds, *judged(made, given.labels), pictures)
                print(*asdict(result).values(), flush=True)
                kept.add(result)
    print(table(kept.results))


if __name__ == "__main__":
    main()
