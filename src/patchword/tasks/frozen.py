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
from patchword.tasks.labelled import LabelledExamples, taken
from patchword.tasks.labels import SINGLE, cross_validation_folds
from patchword.tasks.learning_curve import Fit, learning_curve
from patchword.tasks.probe import logistic, nearest_vote, probe, standardise
from patchword.tasks.suspects import FOLDS, held_out_chances, suspects
from patchword.tasks.task import Compute, Prepared

if TYPE_CHECKING:
    from patchword.tasks.classification import Classification

MOST_ROWS = 5000
"""Labelled rows that are learnt from at most."""


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


def of_start(task: Classification, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
    """What is reached on frozen vectors: parts of a report.

    Args:
        task: of one label a row, or of several.
        model: as it begins to learn; it is not changed.
        prepared: the rows, divided as for the model.
        compute: where the vectors are.

    Returns:
        "floors" and "test_floors": metrics of "linear probe" and "nearest neighbours". Where each row has one label,
        "learning_curve" if the rows are few, and "suspects" if there was no cross-validation of the model, whose
        predictions say more.
    """
    from threadpoolctl import threadpool_limits

    assert task.problem is not None
    problem, classes = task.problem, len(task.labels)
    division = task.division(prepared, MOST_ROWS)
    known = np.concatenate([vectors(model, *rows.parts(), np.arange(len(rows)), compute) for rows in division.sets])
    if not np.isfinite(known).all():
        return {}  # the first step of learning says so
    asked = None
    if prepared.test is not None:
        assert isinstance(prepared.test, LabelledExamples)
        asked = vectors(model, *prepared.test.parts(), np.arange(len(prepared.test)), compute)

    def fit(train: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        first, second = standardise(train, rows)
        return {
            "linear probe": logistic(first, targets, second, problem, classes),
            "nearest neighbours": nearest_vote(train, targets, rows, problem, classes),
        }

    # These fits are so small that two threads wait for each other longer than one computes.
    with threadpool_limits(1):
        report = task.beside(division.scored(fit, known, asked), prepared)
        if problem != SINGLE:
            return report
        own = division.all_rows
        targets, vectors_of, raw = division.targets[own], known[own], taken(division.raw(), own)
        folds = division.folds
        if folds is None:
            folds = cross_validation_folds(task.label_set, targets, np.arange(len(targets)), FOLDS, 0)
            chances = held_out_chances(vectors_of, targets, classes, folds)
            by = f"a linear probe in {FOLDS}-fold cross-validation"
            shown = division.shown()
            if found := suspects(chances, targets, [shown[i] for i in own], task.labels, by):
                report["suspects"] = found
        methods: dict[str, Fit] = {"linear probe": partial(_probed, vectors_of, targets)}
        if task.modality == "text":
            methods["tf-idf"] = partial(_words, raw, targets, classes)
        if curve := learning_curve(methods, targets, folds):
            report["learning_curve"] = curve
    return report


def _probed(known: np.ndarray, targets: np.ndarray, learn: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """What the probe predicts for some of the rows when it was trained on others."""
    return probe(known[learn], targets[learn], known[asked])


def _words(texts: Any, targets: np.ndarray, classes: int, learn: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """What TF-IDF predicts for them."""
    scores = floors.linear("text", SINGLE, taken(texts, learn), targets[learn], taken(texts, asked), classes)
    return np.asarray(scores.argmax(1))
