"""Whether a confidence can be believed, and how many rows can be answered at a given certainty.

n rows, c classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from patchword.tasks.labels import MULTI
from patchword.tasks.metrics import probabilities

BINS = 15
FOLDS = 5
_RESAMPLES = 1000
_MOST_NUMBERS = 4_000_000  # resampling weights in memory at a time
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


def cross_fitted(logits: np.ndarray, targets: np.ndarray, problem: str, folds: np.ndarray | None = None) -> np.ndarray:
    """Logits divided by a temperature that was fitted on the rows of the other folds, `[n, c]`.

    What the fitted temperature is worth is then measured on rows that it was not fitted on.

    Args:
        logits, targets, problem: as `fit_temperature` takes them.
        folds: number of the fold of each row, `[n]`; every fifth row where not given.
    """
    folds = np.arange(len(logits)) % FOLDS if folds is None else folds
    scaled = logits.astype(np.float64)
    for fold in np.unique(folds):
        others = folds != fold
        if others.any():
            scaled[~others] /= fit_temperature(logits[others], targets[others], problem)
    return scaled


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


def confidence_report(logits: np.ndarray, targets: np.ndarray, problem: str, seed: int = 0) -> dict[str, Any]:
    """How far the confidences hold on rows that they were not fitted on.

    Args:
        logits: `[n, c]`, calibrated.
        targets: as `LabelSet.encode` gives them for one or several labels a row.
        problem: single or multi label.
        seed: of the resampling.

    Returns:
        `calibration_error`: the expected calibration error; `calibration_error_low` and `_high`: its 95 % interval, a
        basic bootstrap over rows, which takes out the bias that the error of few rows has (Davison and Hinkley 1997,
        section 5.2), and at least from 0 to `calibration_error_limit` where the error is below that;
        `calibration_error_by_chance`: its mean if every confidence held exactly, on as many rows;
        `calibration_error_limit`: 95 % of such errors are below it.
        `confidence`: the mean; `overconfidence`: the mean confidence minus the accuracy, with its interval.
        `reliability` and `coverage`: see there.
    """
    sure, right = believed(logits, targets, problem)
    rows = len(logits)
    gaps = (sure - right).reshape(rows, -1)
    bin_of = np.minimum((sure * BINS).astype(int), BINS - 1).reshape(rows, -1)
    of_rows = np.zeros((rows, BINS))
    for column in range(gaps.shape[1]):
        np.add.at(of_rows, (np.arange(rows), bin_of[:, column]), gaps[:, column])
    random = np.random.default_rng(seed)
    drawn, held = [], []
    for count in _portions(rows):
        weights = random.multinomial(rows, np.full(rows, 1 / rows), count)
        drawn.append(weights @ of_rows)
        del weights
    for count in _portions(len(sure)):
        chance = sure - (random.random((count, len(sure))) < sure)
        sums = np.stack([np.bincount(bin_of.ravel(), row, minlength=BINS) for row in chance])
        held.append(np.abs(sums).sum(1))
    bins = np.concatenate(drawn)
    error = calibration_error(sure, right)
    errors, chance_errors = np.abs(bins).sum(1) / len(sure), np.concatenate(held) / len(sure)
    low, high = (max(0.0, 2 * error - float(end)) for end in np.quantile(errors, [0.975, 0.025]))
    limit = float(np.quantile(chance_errors, 0.95))
    over_low, over_high = np.quantile(bins.sum(1) / len(sure), [0.025, 0.975])
    return {
        "calibration_error": error,
        "calibration_error_low": low if error > limit else 0.0,
        "calibration_error_high": high if error > limit else max(high, limit),
        "calibration_error_by_chance": float(chance_errors.mean()),
        "calibration_error_limit": limit,
        "confidence": float(sure.mean()),
        "overconfidence": float((sure - right).mean()),
        "overconfidence_low": float(over_low),
        "overconfidence_high": float(over_high),
        "reliability": reliability(sure, right),
        "coverage": coverage(sure, right),
    }


def _portions(rows: int) -> list[int]:
    """How many resamples are made at a time: `_RESAMPLES` in all, fewer of very many rows, whose spread is small."""
    total = _RESAMPLES if rows <= 20_000 else 200
    at_once = max(1, min(total, _MOST_NUMBERS // rows))
    return [min(at_once, total - first) for first in range(0, total, at_once)]


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
