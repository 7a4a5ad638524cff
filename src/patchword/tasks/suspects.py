"""Training rows whose label is probably wrong, as many as can be expected to be (after Northcutt et al. 2021).

A model that has not seen a row gives the probability of its label. Where these probabilities are calibrated, they also
give how many labels this improbable there would be by chance: so many rows with a label that is right but unlikely. A
list is shown only as far as there are at least twice as many rows as that.

n rows, c classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchword.tasks.calibration import cross_fitted
from patchword.tasks.labels import SINGLE
from patchword.tasks.metrics import softmax
from patchword.tasks.review import shortened

SUSPECTS = 20
FOLDS = 5
PRECISION = 0.5
"""Share of the rows of a list that are expected to be labelled wrong, at least."""
_BY_CHANCE = 0.01  # probability that a list is shown where all labels are right, at each length
_STRENGTH = 0.1  # C of the probe, which is sure of nothing on a few hundred rows


def suspects(
    chances: np.ndarray, targets: np.ndarray, shown: Sequence[tuple[Any, str]], labels: Sequence[str], by: str
) -> dict[str, Any]:
    """The rows that are most likely labelled wrong.

    Args:
        chances: calibrated probabilities of the classes of each row by a model that was not trained on it, `[n, c]`.
        targets: class of each row, `[n]`.
        shown: input of each row as a person reads it, and its origin.
        labels: names of the classes.
        by: what gave the probabilities, in words.

    Returns:
        `rows`: at most `SUSPECTS`, least likely label first, with `origin`, `text`, `is`, `prediction` and
        `confidence` (the probability of the row's own label); `count`: how many there are in all; `expected_precision`:
        the share of them that is expected to be labelled wrong, 0 where there are none; `looked_at`: rows; `accuracy`:
        of the predictions; `by`. Nothing where no two classes have rows enough.
    """
    # A class of fewer rows than folds is predicted by a model that has hardly seen it.
    enough = np.bincount(targets, minlength=len(labels)) >= FOLDS
    ids = np.flatnonzero(enough[targets])
    if enough.sum() < 2:
        return {}
    own = targets[ids]
    found, precision = suspected(chances[ids], own)
    rows = [(int(ids[row]), chances[ids[row]]) for row in found[:SUSPECTS]]
    return {
        "rows": [
            {
                "origin": shown[row][1],
                "text": shortened(shown[row][0]),
                "is": labels[targets[row]],
                "prediction": labels[of_row.argmax()],
                "confidence": float(of_row[targets[row]]),
            }
            for row, of_row in rows
        ],
        "count": len(found),
        "expected_precision": precision,
        "looked_at": len(ids),
        "accuracy": float((chances[ids].argmax(1) == own).mean()),
        "by": by,
    }


def held_out_chances(vectors: np.ndarray, targets: np.ndarray, classes: int, folds: np.ndarray) -> np.ndarray:
    """Calibrated probabilities `[n, classes]` of each row by a linear probe that was trained on the other folds.

    Args:
        vectors: frozen features, `[n, width]`.
        targets: `[n]`.
        classes: how many.
        folds: number of the fold of each row, `[n]`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    logits = np.full((len(targets), classes), -20.0)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence
        for fold in np.unique(folds):
            learn, judge = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if len(np.unique(targets[learn])) > 1:
                probe = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=300))
                probe.fit(vectors[learn], targets[learn])
                logits[np.ix_(judge, probe.classes_)] = probe.predict_log_proba(vectors[judge])
    return softmax(cross_fitted(logits, targets, SINGLE, folds))


def suspected(chances: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows whose label is probably wrong, least likely label first, and the share of them that is expected to be.

    Of rows that are predicted to be of another class, the k with the least likely labels, for the largest k that is at
    least twice the number of such rows expected by chance, and beyond what chance brings (Poisson).

    Args:
        chances: calibrated probabilities, `[n, c]`.
        targets: `[n]`.
    """
    from scipy.stats import poisson

    own = chances[np.arange(len(targets)), targets]
    rows = np.flatnonzero(chances.argmax(1) != targets)
    rows = rows[np.argsort(own[rows], kind="stable")]
    # Were the labels drawn from these probabilities, each class but the most likely one would be a label so often.
    other = np.delete(np.sort(chances, axis=1), -1, axis=1).ravel()
    other.sort()
    # One more: that something never happens cannot be known from so many rows.
    expected = np.concatenate([[1.0], 1.0 + np.cumsum(other)])[np.searchsorted(other, own[rows], side="right")]
    count = np.arange(1, len(rows) + 1)
    precision = 1 - expected / count
    good = np.flatnonzero((precision >= PRECISION) & (poisson.sf(count - 1, expected) < _BY_CHANCE))
    if not len(good):
        return rows[:0], 0.0
    return rows[: good[-1] + 1], float(precision[good[-1]])
