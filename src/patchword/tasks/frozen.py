"""What the vectors of a model that has learnt nothing of the labels say of them: it tells whether fine-tuning paid.

On few labels it is often the best there is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchword.data.loader import Examples
from patchword.models.family import Model
from patchword.models.heads import MeanToken
from patchword.tasks import floors
from patchword.tasks.labels import SINGLE
from patchword.tasks.learning_curve import Fit, learning_curve
from patchword.tasks.metrics import scores
from patchword.tasks.probe import logistic, nearest_vote, probe, standardise
from patchword.tasks.suspects import suspects
from patchword.tasks.task import Compute

if TYPE_CHECKING:
    from patchword.tasks.classification import Classification
    from patchword.tasks.labelled import LabelledExamples

MOST_ROWS = 5000
"""Labelled rows that are learnt from at most."""


def some(count: int) -> np.ndarray:
    """Numbers of the rows to learn from: all, or `MOST_ROWS` of them, always the same."""
    if count <= MOST_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:MOST_ROWS])


def vectors(model: Model, parts: Examples, owners: np.ndarray, ids: np.ndarray, compute: Compute) -> np.ndarray:
    """The mean over the tokens of each example, and over its parts, `[len(ids), width]`.

    Args:
        model: is not changed.
        parts: what is read to predict.
        owners: the example that each part belongs to, `[parts]`.
        ids: numbers of the examples that are wanted, ascending.
        compute: where.
    """
    wanted = np.flatnonzero(np.isin(owners, ids))
    row = np.searchsorted(ids, owners)
    pool = MeanToken()
    sums: Any = 0.0
    for at, batch in compute.over(model, parts, wanted):
        read = pool(model.read(*batch.inputs)).float().cpu().numpy()
        if isinstance(sums, float):
            sums = np.zeros((len(ids), read.shape[1]), np.float32)
        np.add.at(sums, row[at], read)
    return np.asarray(sums / np.bincount(row[wanted], minlength=len(ids))[:, None], np.float32)


def of_start(
    task: Classification,
    model: Model,
    train: LabelledExamples,
    held_out: dict[str, LabelledExamples],
    compute: Compute,
) -> dict[str, Any]:
    """What is reached on frozen vectors: parts of a report.

    Args:
        task: of one label a row, or of several.
        model: as it begins to learn; it is not changed.
        train: the labelled rows.
        held_out: "floors" and "test_floors" -> the rows that are scored for it.
        compute: where the vectors are.

    Returns:
        "floors" and "test_floors": `metrics.scores` of "linear probe" and "nearest neighbours". Where each row has one
        label, "suspects" among the labelled rows, and where there are few "learning_curve" on the rows of "floors".
    """
    from threadpoolctl import threadpool_limits

    assert task.problem is not None
    problem, classes = task.problem, len(task.labels)
    ids = some(len(train))
    targets = train.targets[ids]
    known = vectors(model, *train.parts(), ids, compute)
    report: dict[str, Any] = {}
    if not np.isfinite(known).all():
        return report  # the first step of learning says so
    if problem == SINGLE and (found := suspects(known, ids, train, task.labels)):
        report["suspects"] = found
    # These fits are so small that two threads wait for each other longer than one computes.
    with threadpool_limits(1):
        for part, rows in held_out.items():
            asked = vectors(model, *rows.parts(), np.arange(len(rows)), compute)
            first, second = standardise(known, asked)
            by = {
                "linear probe": logistic(first, targets, second, problem, classes),
                "nearest neighbours": nearest_vote(known, targets, asked, problem, classes),
            }
            ordinal = task.label_set.ordinal
            report[part] = {name: scores(s, rows.targets, problem, ordinal=ordinal) for name, s in by.items()}
            if part == "floors" and problem == SINGLE:
                methods: dict[str, Fit] = {"linear probe": partial(_probed, known, targets, asked)}
                if task.modality == "text":
                    methods["tf-idf"] = _words(train, targets, rows, classes)
                if curve := learning_curve(methods, targets, rows.targets):
                    report["learning_curve"] = curve
    return report


def _probed(known: np.ndarray, targets: np.ndarray, asked: np.ndarray, some: np.ndarray) -> np.ndarray:
    """What the probe says when it has learnt from some of the rows."""
    return probe(known[some], targets[some], asked)


def _words(train: LabelledExamples, targets: np.ndarray, rows: LabelledExamples, classes: int) -> Fit:
    texts, asked = train.raw(), rows.raw()

    def fit(some: np.ndarray) -> np.ndarray:
        words = floors.linear("text", SINGLE, [texts[i] for i in some], targets[some], asked, classes)
        return np.asarray(words.argmax(1))

    return fit
