"""Whether a confidence can be believed, and how many rows can be answered at a given certainty.

n rows, c classes.
"""

from __future__ import annotations

import numpy as np

from patchword.tasks.labels import MULTI
from patchword.tasks.metrics import probabilities

BINS = 15
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_LOWEST, _HIGHEST = 0.01, 100.0


def fit_temperature(logits: np.ndarray, targets: np.ndarray, problem: str) -> float:
    """The number that logits are divided by so that held-back rows are most likely (Guo et al. 2017, section 4.2).

    It changes no prediction. On rows that are all right it would go to 0, were each not taken for right with a chance
    of (n + 1) / (n + 2) only, as of labels that n rows were right about (Platt 1999, section 2.2).

    Args:
        logits: `[n, c]`.
        targets: as `LabelSet.encode` gives them for one or several labels a row.
        problem: single or multi label.
    """
    from scipy.optimize import minimize_scalar

    z = logits.astype(np.float64)
    doubt = 1 / (len(z) + 2)
    hits = targets if problem == MULTI else np.eye(z.shape[1])[targets]
    chances = hits * (1 - doubt) + (1 - hits) * doubt / (1 if problem == MULTI else z.shape[1] - 1)

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        if problem == MULTI:
            return float((np.logaddexp(0, scaled) - scaled * chances).mean())
        largest = scaled.max(1, keepdims=True)
        log_sum = largest[:, 0] + np.log(np.exp(scaled - largest).sum(1))
        return float((log_sum - (scaled * chances).sum(1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def believed(logits: np.ndarray, targets: np.ndarray, problem: str) -> tuple[np.ndarray, np.ndarray]:
    """How sure each decision is, and whether it is right: `[n]` each, or `[n * c]` where each class is decided."""
    chances = probabilities(logits.astype(np.float64), problem)
    if problem == MULTI:
        chosen = chances > 0.5
        return np.where(chosen, chances, 1 - chances).ravel(), (chosen == (targets > 0.5)).ravel()
    return chances.max(1), chances.argmax(1) == targets


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy in bins of equal width, by their rows.

    Guo et al. 2017, equation 3 (Naeini et al. 2015). 0.05: a decision that is said to be 90 % sure is right in
    85 % or 95 %, on average.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """The bins of `calibration_error` that have rows: mean `confidence`, `accuracy` and `rows` of each."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, confidence, bins), np.bincount(bin_of, right, bins)
    return [
        {"confidence": float(sums[0][b] / rows[b]), "accuracy": float(sums[1][b] / rows[b]), "rows": int(rows[b])}
        for b in np.flatnonzero(rows)
    ]


def coverage(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """`accuracy` on the `share` of rows that are surest, and the `confidence` of the least sure of them.

    El-Yaniv and Wiener 2010: what is right if only so many are answered.
    """
    order = np.argsort(-confidence, kind="stable")
    correct = np.cumsum(right[order])
    curve = []
    for share in SHARES:
        rows = max(1, round(share * len(order)))
        curve.append(
            {
                "share": share,
                "accuracy": float(correct[rows - 1] / rows),
                "confidence": float(confidence[order[rows - 1]]),
            }
        )
    return curve
