"""Both ways to predict, each checked against the other and timed in turns, in a process of its own."""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from benchmarks.prediction import OURS, THEIRS
from benchmarks.race import hand_back
from benchmarks.text import write_tokenizer
from patchword.data.tables import rows
from patchword.models.family import Model, preset
from patchword.models.folder import write_json, write_model
from patchword.models.image_processors import read_image_processor
from patchword.tasks.predictor import load

Chances = list[dict[str, float]]
Way = Callable[[], Chances]
_LABELS = tuple(f"class {i}" for i in range(9))


def text_folder(folder: Path) -> None:
    """MiniLM's shape, with the tokenizer of BERT."""
    family, config = preset("bert-base")
    config = config.model_copy(
        update={"width": 384, "depth": 6, "heads": 12, "hidden": 1536, "max_length": 256, "init_std": 0.1}
    )
    write_model(Model(family, config, "class", _LABELS), folder)
    write_tokenizer(folder, folder / "none")


def image_folder(folder: Path) -> None:
    """ViT-tiny, pictures of 224 x 224."""
    family, config = preset("vit-tiny-16")
    write_model(Model(family, config.model_copy(update={"init_std": 0.1}), "class", _LABELS), folder)
    write_json(folder / "preprocessor_config.json", read_image_processor(folder, family, config).to_dict())


def ours(folder: Path, inputs: list[Any]) -> Way:
    """As `patchword predict` does."""
    model = load(folder, "cpu")
    return lambda: [answer["probabilities"] for answer in model.predict(inputs)]


def theirs(folder: Path, inputs: list[Any]) -> Way:
    """`pipeline` with batches of 32."""
    if isinstance(inputs[0], str):
        texts = transformers.pipeline("text-classification", str(folder), device="cpu")

        def answer() -> Any:
            return texts(inputs, batch_size=32, top_k=None, truncation=True, max_length=256)

    else:
        images = transformers.pipeline("image-classification", str(folder), device="cpu")

        def answer() -> Any:
            opened = [Image.open(io.BytesIO(image)).convert("RGBA") for image in inputs]
            flat = [Image.alpha_composite(Image.new("RGBA", image.size, "white"), image) for image in opened]
            return images([image.convert("RGB") for image in flat], batch_size=32, top_k=len(_LABELS))

    return lambda: [{found["label"]: found["score"] for found in row} for row in answer()]


def run(path: Path, count: int, repeats: int) -> dict[str, list[float]]:
    """Rows a second, repeat by repeat."""
    torch.manual_seed(0)
    pictures = path.suffix == ".parquet"
    inputs = [cells["image" if pictures else "text"] for _, cells in itertools.islice(rows(path), count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (image_folder if pictures else text_folder)(folder)
        ways = {OURS: ours(folder, inputs), THEIRS: theirs(folder, inputs)}
    found = [np.array([[row[label] for label in _LABELS] for row in way()]) for way in ways.values()]
    # One picture is resized in two ways, which may differ by a level.
    if np.abs(found[0] - found[1]).max() > (0.05 if pictures else 1e-4):
        raise ValueError(f"they predict other probabilities: by {np.abs(found[0] - found[1]).max():.2g}")
    taken: dict[str, list[float]] = {who: [] for who in ways}
    for _ in range(repeats):
        for who, way in ways.items():
            began = time.perf_counter()
            way()
            taken[who].append(len(inputs) / (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    file, how_many, times = sys.argv[1:]
    hand_back(run(Path(file), int(how_many), int(times)))
