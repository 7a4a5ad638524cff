"""Training rows whose label is probably wrong: confident learning (Northcutt et al. 2021).

A linear probe that has not seen a row says how likely its label is. It reads the vectors of the model that fine-tuning
started from: the finished model has learnt these very labels, the wrong ones too, and would defend them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchword.tasks.review import shortened

if TYPE_CHECKING:
    from patchword.tasks.labelled import LabelledExamples

SUSPECTS = 20
FOLDS = 5
_STRENGTH = 0.1  # C of the probe, which is sure of nothing on a few hundred rows


def suspects(vectors: np.ndarray, ids: np.ndarray, examples: LabelledExamples, labels: Sequence[str]) -> dict[str, Any]:
    """The rows that are most likely labelled wrong.

    Args:
        vectors: of the start, one for each row that is looked at, `[n, width]`.
        ids: which rows of the examples these are, `[n]`.
        examples: with one label each.
        labels: names of the classes.

    Returns:
        `rows`: at most `SUSPECTS`, least likely label first, with `origin`, `text`, `is`, `probe` (what the probe says)
        and `confidence` (its probability of the row's own label); `count`: how many there are in all; `looked_at`:
        rows; `accuracy`: of the probe on rows that it has not seen. What a poor probe suspects is worth little.
    """
    # A class with fewer rows than folds would be judged by a probe that has hardly seen it.
    enough = np.bincount(examples.targets[ids], minlength=len(labels)) >= FOLDS
    kept = enough[examples.targets[ids]]
    vectors, ids = vectors[kept], ids[kept]
    targets = examples.targets[ids]
    if len(np.unique(targets)) < 2:
        return {}
    chances = held_out_chances(vectors, targets, len(labels))
    found = suspected(chances, targets)
    inputs = examples.shown()
    return {
        "rows": [
            {
                "origin": examples.origins[ids[row]] if examples.origins else "",
                "text": shortened(inputs[ids[row]]),
                "is": labels[targets[row]],
                "probe": labels[chances[row].argmax()],
                "confidence": float(chances[row, targets[row]]),
            }
            for row in found[:SUSPECTS]
        ],
        "count": len(found),
        "looked_at": len(ids),
        "accuracy": float((chances.argmax(1) == targets).mean()),
    }


def held_out_chances(vectors: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities `[n, classes]` of each row by a probe of the other folds; each class is in all folds alike."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    chances = np.zeros((len(targets), classes))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(vectors, targets)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence
        for learn, judge in folds:
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=300))
            probe.fit(vectors[learn], targets[learn])
            chances[np.ix_(judge, probe.classes_)] = probe.predict_proba(vectors[judge])
    return chances


def suspected(chances: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rows beside the diagonal of the confident joint (Northcutt et al. 2021, equation 1), least likely label first.

    A row counts for a class if its probability is at least the mean of those that have the class as label; for the most
    likely one of several.
    """
    classes = chances.shape[1]
    own = chances[np.arange(len(targets)), targets]
    sums = np.bincount(targets, own, classes)
    thresholds = np.divide(sums, np.bincount(targets, minlength=classes), out=np.full(classes, np.inf), where=sums > 0)
    confident = np.where(chances >= thresholds, chances, -1.0)
    rows = np.flatnonzero((confident.max(1) >= 0) & (confident.argmax(1) != targets))
    return rows[np.argsort(own[rows], kind="stable")]
