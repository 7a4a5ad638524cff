"""`python -m benchmarks.few_labels`: how good a classifier of few labels becomes, patchword beside what people use.

The same starting folder and the same labelled rows for every contender (patchword holds a part of them back to
validate on; the others learn from all of them), the same test rows, three draws of the labelled rows. It takes hours on
two cores, so every result is kept in `--results` as soon as it is there, and the same command goes on.

patchword       `pw.finetune(start, rows)`, nothing else said
one seed        the same with `seeds=1`: where there are under 2,000 labels, a fifth of the time
script          transformers' `run_classification.py` / `run_image_classification.py` with what its arguments default
                to: 3 passes, batches of 8, 5e-5, no warm-up, 128 tokens
script, longer  the same with as many passes, in as large batches, as one seed of patchword takes
SetFit-like     pairs of alike and unalike rows, cosine loss on mean-pooled vectors, then logistic regression on these
probe           logistic regression on mean-pooled vectors of the start
tf-idf, pixels  logistic regression on words and word pairs, or on pixels
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept

COUNTS = (100, 500, 1000, 0)
"""Labelled rows; 0: all."""
TEXTS, IMAGES = ("topics", "sentiment"), ("digits", "emoji", "glyphs")
_SCRIPT_TOKENS = 128
_PAIRS_A_ROW, _PAIR_STEPS, _PAIR_BATCH = 20, 300, 16


@dataclass(frozen=True)
class Rows:
    """Inputs (texts, or PNG bytes) and their classes."""

    inputs: Sequence[Any]
    targets: np.ndarray
    names: tuple[str, ...]

    def draw(self, count: int, seed: int) -> Rows:
        """So many of them at random; 0: all."""
        if not count or count >= len(self.inputs):
            return self
        chosen = np.random.default_rng(seed).permutation(len(self.inputs))[:count]
        return Rows([self.inputs[i] for i in chosen], self.targets[chosen], self.names)


@dataclass(frozen=True)
class Result:
    """One contender on one draw."""

    set: str
    start: str
    labels: int
    seed: int
    method: str
    accuracy: float
    macro_f1: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """What it is a result of."""
        return self.set, self.start, self.labels, self.seed, self.method


def read(name: str, part: str) -> Rows:
    """A part ("train", "test") of one of the sets in `PATCHWORD_DATA`."""
    folder = Path(os.environ["PATCHWORD_DATA"])
    if name in TEXTS:
        rows = [json.loads(line) for line in (folder / f"{name}-{part}.jsonl").open(encoding="utf-8")]
        inputs = [row["text"] for row in rows]
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(folder / f"{name}-{part}.parquet").to_pylist()
        inputs = [row["image"] for row in rows]
    labels = [str(row["label"]) for row in rows]
    names = tuple(sorted(set(labels)))
    return Rows(inputs, np.array([names.index(label) for label in labels]), names)


def patchword(train: Rows, test: Rows, start: str, seed: int, folder: Path, seeds: int | None = None) -> np.ndarray:
    """With its defaults."""
    import patchword as pw

    if isinstance(train.inputs[0], str):
        data = folder / "rows.jsonl"
        rows = zip(train.inputs, train.targets, strict=True)
        data.write_text("".join(json.dumps({"text": t, "label": train.names[y]}) + "\n" for t, y in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet

        data = folder / "rows.parquet"
        labels = [train.names[y] for y in train.targets]
        pyarrow.parquet.write_table(pa.table({"image": list(train.inputs), "label": labels}), data)
    out = pw.finetune(start, data, out=folder / "run", seed=seed, seeds=seeds, quiet=True).folder
    predicted = pw.load(out).predict(list(test.inputs))
    return np.array([train.names.index(row["label"]) for row in predicted])


def script(train: Rows, test: Rows, start: str, seed: int, folder: Path, longer: bool = False) -> np.ndarray:
    """transformers' Trainer as in its example scripts."""
    import torch
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(seed)
    model, encode, collate = _theirs(train, start)
    examples = [{**inputs, "labels": int(y)} for inputs, y in zip(encode(train.inputs), train.targets, strict=True)]
    how: dict[str, Any] = {"num_train_epochs": 3}
    if longer:
        from patchword.training.recipes import default_recipe

        kind = "text_classification" if isinstance(train.inputs[0], str) else "image_classification"
        recipe = default_recipe("finetune", kind, model.config.hidden_size, len(train.inputs))
        how = {"num_train_epochs": recipe.epochs, "per_device_train_batch_size": recipe.batch_size}
    arguments = TrainingArguments(
        str(folder / "trainer"), seed=seed, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, **how
    )
    Trainer(model, arguments, data_collator=collate, train_dataset=examples).train()
    model.eval()
    out = []
    with torch.inference_mode():
        for first in range(0, len(test.inputs), 32):
            batch = collate(encode(test.inputs[first : first + 32]))
            out.append(model(**batch).logits.argmax(-1).numpy())
    return np.concatenate(out)


def _theirs(train: Rows, start: str) -> tuple[Any, Callable[..., list[dict[str, Any]]], Callable[..., Any]]:
    """(model, inputs -> features, features -> batch), all of transformers."""
    import torch
    from transformers import (
        AutoImageProcessor,
        AutoModelForImageClassification,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
    )

    classes = len(train.names)
    if isinstance(train.inputs[0], str):
        tokenizer = AutoTokenizer.from_pretrained(start)

        def tokens(texts: Sequence[str]) -> list[dict[str, Any]]:
            encoded = tokenizer(list(texts), truncation=True, max_length=_SCRIPT_TOKENS)
            return [{name: values[i] for name, values in encoded.items()} for i in range(len(texts))]

        model = AutoModelForSequenceClassification.from_pretrained(start, num_labels=classes)
        return model, tokens, DataCollatorWithPadding(tokenizer)
    from PIL import Image

    processor = AutoImageProcessor.from_pretrained(start)

    def pixels(pictures: Sequence[bytes]) -> list[dict[str, Any]]:
        opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        return [{"pixel_values": values} for values in processor(opened, return_tensors="pt")["pixel_values"]]

    def stack(features: list[dict[str, Any]]) -> dict[str, Any]:
        batch = {"pixel_values": torch.stack([feature["pixel_values"] for feature in features])}
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features])
        return batch

    how = {"num_labels": classes, "ignore_mismatched_sizes": True}
    return AutoModelForImageClassification.from_pretrained(start, **how), pixels, stack


def setfit(train: Rows, test: Rows, start: str, seed: int, folder: Path) -> np.ndarray:
    """Contrastive learning on pairs, then a linear head (Tunstall et al. 2022), for texts."""
    import torch
    import torch.nn.functional as F
    from transformers import AutoModel, AutoTokenizer, set_seed

    set_seed(seed)
    random = np.random.default_rng(seed)
    tokenizer, model = AutoTokenizer.from_pretrained(start), AutoModel.from_pretrained(start)

    def vectors(texts: Sequence[str]) -> torch.Tensor:
        inputs = tokenizer(list(texts), truncation=True, max_length=_SCRIPT_TOKENS, padding=True, return_tensors="pt")
        mask = inputs["attention_mask"][..., None]
        return (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)

    steps = min(_PAIR_STEPS, 2 * _PAIRS_A_ROW * len(train.inputs) // _PAIR_BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / (0.1 * steps), (steps - n) / (0.9 * steps))
    )
    of_class = [np.flatnonzero(train.targets == c) for c in range(len(train.names))]
    model.train()
    for _ in range(steps):
        a = random.integers(len(train.inputs), size=_PAIR_BATCH)
        alike = random.random(_PAIR_BATCH) < 0.5
        b = np.empty_like(a)
        for n, i in enumerate(a):
            same = of_class[train.targets[i]]
            other = np.flatnonzero(train.targets != train.targets[i])
            b[n] = random.choice(same if alike[n] else other)
        pairs = vectors([train.inputs[i] for i in (*a, *b)]).view(2, _PAIR_BATCH, -1)
        loss = F.mse_loss(F.cosine_similarity(pairs[0], pairs[1]), torch.from_numpy(alike).float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    with torch.inference_mode():
        of_train, of_test = (
            np.concatenate([vectors(r.inputs[n : n + 32]).numpy() for n in range(0, len(r.inputs), 32)])
            for r in (train, test)
        )
    from sklearn.linear_model import LogisticRegression

    return np.asarray(LogisticRegression(max_iter=1000).fit(of_train, train.targets).predict(of_test))


def probe(train: Rows, test: Rows, start: str, seed: int, folder: Path) -> np.ndarray:
    """Frozen features of the start."""
    import patchword as pw
    from patchword.study.labels import probe as fitted

    model = pw.load(start)
    return fitted(model.features(list(train.inputs)), train.targets, model.features(list(test.inputs)))


def words(train: Rows, test: Rows, start: str, seed: int, folder: Path) -> np.ndarray:
    """No pretraining at all, for texts."""
    from patchword.study.labels import tf_idf

    return tf_idf(train.inputs, train.targets, test.inputs)


def pixels(train: Rows, test: Rows, start: str, seed: int, folder: Path) -> np.ndarray:
    """No pretraining at all, for pictures: 32 x 32, as the floors of the sets were measured."""
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def flat(rows: Rows) -> np.ndarray:
        opened = (Image.open(io.BytesIO(picture)).convert("RGB").resize((32, 32)) for picture in rows.inputs)
        return np.stack([np.asarray(picture, np.float32).ravel() for picture in opened])

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    return np.asarray(model.fit(flat(train), train.targets).predict(flat(test)))


Contender = Callable[[Rows, Rows, str, int, Path], np.ndarray]
OF_TEXTS: dict[str, Contender] = {
    "tf-idf": words,
    "probe": probe,
    "patchword": patchword,
    "one seed": lambda *given: patchword(*given, seeds=1),
    "script": script,
    "script, longer": lambda *given: script(*given, longer=True),
    "SetFit-like": setfit,
}
OF_IMAGES: dict[str, Contender] = {
    "pixels": pixels,
    "probe": probe,
    "patchword": patchword,
    "one seed": lambda *given: patchword(*given, seeds=1),
    "script": script,
    "script, longer": lambda *given: script(*given, longer=True),
}


def run(name: str, start: str, count: int, seed: int, method: str, path: str) -> Result:
    """One contender on one draw.

    Args:
        name: of the set.
        start: what the starting folder is called in the table.
        count: labelled rows; 0: all.
        seed: of the draw, and of the contender.
        method: its name.
        path: the starting folder.
    """
    from sklearn.metrics import f1_score

    train, test = read(name, "train").draw(count, seed), read(name, "test")
    contender = (OF_TEXTS if name in TEXTS else OF_IMAGES)[method]
    with tempfile.TemporaryDirectory(prefix="few-labels-") as folder:
        began = time.perf_counter()
        predicted = contender(train, test, path, seed, Path(folder))
        seconds = time.perf_counter() - began
    accuracy = float((predicted == test.targets).mean())
    macro = float(f1_score(test.targets, predicted, average="macro"))
    return Result(name, start, count, seed, method, accuracy, macro, round(seconds, 1))


def table(results: Sequence[Result]) -> str:
    """A table for each set and start: methods over counts, mean accuracy in % and the spread over draws."""
    lines = []
    for name, start in dict.fromkeys((result.set, result.start) for result in results):
        mine = [result for result in results if (result.set, result.start) == (name, start)]
        counts = sorted({result.labels for result in mine}, key=lambda count: count or 10**9)
        lines += [f"**{name}**, from {start}\n", "| | " + " | ".join(str(count or "all") for count in counts) + " |"]
        lines += ["| --- |" + " ---: |" * len(counts)]
        for method in dict.fromkeys(result.method for result in mine):
            cells = []
            for count in counts:
                found = [r for r in mine if r.method == method and r.labels == count]
                scores = 100 * np.array([r.accuracy for r in found])
                spread = f" ± {scores.std(ddof=1):.1f}" if len(found) > 1 else ""
                cells.append(
                    f"{scores.mean():.1f}{spread} ({np.mean([r.seconds for r in found]):.0f} s)" if found else ""
                )
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing in the results, then print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--start", action="append", default=[], metavar="NAME=FOLDER", help="a starting folder")
    parser.add_argument("--sets", nargs="+", default=TEXTS, choices=TEXTS + IMAGES)
    parser.add_argument("--counts", nargs="+", type=int, default=COUNTS, help="labelled rows; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", help="all that fit the set")
    parser.add_argument("--results", type=Path, default=Path("few-labels.jsonl"), help="kept here, and gone on with")
    given = parser.parse_args()
    kept = Kept(given.results, Result)
    starts = dict(item.split("=", 1) for item in given.start)
    for count in given.counts:
        for seed in range(given.seeds if count else 1):
            for name in given.sets:
                for method in given.methods or (OF_TEXTS if name in TEXTS else OF_IMAGES):
                    for start, path in starts.items():
                        if (name, start, count, seed, method) in kept:
                            continue
                        result = run(name, start, count, seed, method, path)
                        print(*asdict(result).values(), flush=True)
                        kept.add(result)
    print(table(kept.results))


if __name__ == "__main__":
    main()
