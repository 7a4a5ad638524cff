"""How good predictions are, with the interval that so few rows leave open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchword.tasks.labels import MULTI, REGRESSION, SINGLE

RESAMPLES = 1000
PROPORTIONS = frozenset(
    (
        "accuracy",
        "macro_f1",
        "micro_f1",
        "exact_match",
        "precision",
        "recall",
        "f1",
        "exact",
        "rouge1",
        "rouge2",
        "rougeL",
    )
)
"""Metrics that are never below 0 or above 1."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether all of it is."""
        return self.low > 0.0

    @property
    def below_zero(self) -> bool:
        """Whether all of it is."""
        return self.high < 0.0


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each class by itself."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))


def probabilities(logits: np.ndarray, problem: str) -> np.ndarray:
    """What the scores of a model stand for, `[n, classes]`; a regression's numbers stay."""
    return {SINGLE: softmax, MULTI: sigmoid, REGRESSION: lambda x: x}[problem](logits)


def scores(
    logits: np.ndarray, targets: np.ndarray, problem: str, seed: int = 0, ordinal: bool = False
) -> dict[str, float]:
    """Metrics by name; `name_low` and `name_high` are the ends of a bootstrap 95 % interval over rows.

    Args:
        logits: `[n, classes]`, or a regression's numbers `[n, 1]`.
        targets: as `LabelSet.encode` gives them.
        problem: single or multi label, or regression.
        seed: of the resampling.
        ordinal: the classes are whole numbers one after another, so that some mistakes are larger than others.
    """
    if problem == SINGLE:
        return _single(logits, targets, seed, ordinal)
    return {MULTI: _multi, REGRESSION: _regression}[problem](logits, targets, seed)


def _single(logits: np.ndarray, targets: np.ndarray, seed: int, ordinal: bool) -> dict[str, float]:
    classes = logits.shape[1]
    predicted = logits.argmax(1)
    log_probability = np.log(np.maximum(softmax(logits.astype(np.float64)), 1e-12))
    cells = np.bincount(targets * classes + predicted, minlength=classes * classes)
    # Drawing rows with replacement is drawing cells of the confusion matrix: no row is copied.
    drawn = np.random.default_rng(seed).multinomial(len(targets), cells / cells.sum(), RESAMPLES)
    confusion = cells.reshape(1, classes, classes)
    samples = drawn.reshape(-1, classes, classes)
    return {
        "loss": float(-log_probability[np.arange(len(targets)), targets].mean()),
        **_with_interval("accuracy", _accuracy(confusion)[0], _accuracy(samples)),
        **_with_interval("macro_f1", _macro_f1(confusion)[0], _macro_f1(samples)),
        **(_ordinal(confusion, samples) if ordinal else {}),
        "rows": len(targets),
        "predicted_classes": len(np.unique(predicted)),
    }


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    return np.trace(confusion, axis1=1, axis2=2) / confusion.sum((1, 2))


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that stand in the targets or the predictions, `[samples]`."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    total = confusion.sum(1) + confusion.sum(2)
    f1 = 2 * right / np.maximum(total, 1)
    return f1.sum(1) / np.maximum((total > 0).sum(1), 1)


def _ordinal(confusion: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """How far off a class is, and Cohen's kappa with squared weights (Cohen 1968)."""
    return {
        **_with_interval("mae", _mean_distance(confusion)[0], _mean_distance(samples)),
        **_with_interval("quadratic_kappa", _quadratic_kappa(confusion)[0], _quadratic_kappa(samples)),
    }


def _distances(classes: int) -> np.ndarray:
    return np.abs(np.subtract.outer(np.arange(classes), np.arange(classes)))


def _mean_distance(confusion: np.ndarray) -> np.ndarray:
    return (confusion * _distances(confusion.shape[1])).sum((1, 2)) / confusion.sum((1, 2))


def _quadratic_kappa(confusion: np.ndarray) -> np.ndarray:
    """1 - squared distances over those that chance would leave, `[samples]`; 0 where it leaves none."""
    squares = _distances(confusion.shape[1]) ** 2
    by_chance = confusion.sum(2)[:, :, None] * confusion.sum(1)[:, None] / confusion.sum((1, 2))[:, None, None]
    seen, expected = (squares * confusion).sum((1, 2)), (squares * by_chance).sum((1, 2))
    return np.where(expected > 0, 1 - seen / np.maximum(expected, 1e-12), 0.0)


def _multi(logits: np.ndarray, targets: np.ndarray, seed: int) -> dict[str, float]:
    truth, predicted = targets > 0.5, logits > 0
    counts = np.stack([truth & predicted, truth | predicted], -1).astype(np.int64)  # [n, classes, 2]
    sums = counts.sum(1)

    def micro(hits: np.ndarray, either: np.ndarray) -> np.ndarray:
        return 2 * hits / np.maximum(hits + either, 1)  # |A|+|B| = |A and B| + |A or B|

    per_class = micro(*counts.sum(0).T)
    exact = (truth == predicted).all(1)
    z = logits.astype(np.float64)
    return {
        "loss": float((np.logaddexp(0, z) - z * targets).mean()),
        **_with_interval(
            "micro_f1", float(micro(*sums.sum(0))), _resampled(sums, lambda s: float(micro(*s.sum(0))), seed)
        ),
        "macro_f1": float(per_class.mean()),
        "predicted_classes": int(predicted.any(0).sum()),
        **_with_interval("exact_match", exact.mean(), _resampled(exact, np.mean, seed)),
        "rows": len(targets),
    }


def _regression(logits: np.ndarray, targets: np.ndarray, seed: int) -> dict[str, float]:
    predicted, truth = logits[:, 0].astype(np.float64), targets[:, 0].astype(np.float64)
    error = predicted - truth
    spread = max(float(((truth - truth.mean()) ** 2).mean()), 1e-12)
    correlation = float(np.corrcoef(predicted, truth)[0, 1]) if predicted.std() > 0 and truth.std() > 0 else 0.0
    return {
        "loss": float((error**2).mean()),
        **_with_interval("rmse", float((error**2).mean() ** 0.5), _resampled(error**2, np.mean, seed) ** 0.5),
        "mae": float(np.abs(error).mean()),
        "r2": 1.0 - float((error**2).mean()) / spread,
        "pearson": correlation,
        "rows": len(truth),
    }


def decisions(scores: np.ndarray, problem: str) -> np.ndarray:
    """What scores `[n, classes]` come to: classes `[n]`, which labels are there `[n, classes]`, or numbers `[n]`."""
    if problem == SINGLE:
        return np.asarray(scores.argmax(1))
    return scores > 0 if problem == MULTI else np.asarray(scores[:, 0], np.float64)


def gain(ours: np.ndarray, other: np.ndarray, targets: np.ndarray, problem: str, seed: int = 0) -> dict[str, float]:
    """How much better predictions are than others of the same rows, in the main metric; above 0 is better.

    Args:
        ours, other: `decisions`.
        targets, problem, seed: as in `scores`.

    Returns:
        `gain`: the difference in accuracy, micro F1 or (the other's minus ours) RMSE; `gain_low` and `gain_high`: its
        bootstrap 95 % interval, paired by row.
    """
    rows = len(targets)
    if problem == SINGLE:
        differences = (ours == targets).astype(int) - (other == targets)
        # Drawing rows with replacement is drawing from the three differences that there are.
        shares = np.bincount(differences + 1, minlength=3) / rows
        drawn = np.random.default_rng(seed).multinomial(rows, shares, RESAMPLES) / rows
        return _with_interval("gain", differences.mean(), drawn[:, 2] - drawn[:, 0])
    if problem == MULTI:
        sums = np.concatenate([_hits_and_either(some.astype(bool), targets > 0.5) for some in (ours, other)], 1)

        def difference(some: np.ndarray) -> float:
            right, either, other_right, other_either = some.sum(0)
            first, second = right / max(right + either, 1), other_right / max(other_right + other_either, 1)
            return float(2 * (first - second))
    else:
        sums = np.stack([(some - targets[:, 0].astype(np.float64)) ** 2 for some in (ours, other)], 1)

        def difference(some: np.ndarray) -> float:
            first, second = some.mean(0) ** 0.5
            return float(second - first)

    return _with_interval("gain", difference(sums), _resampled(sums, difference, seed))


def _hits_and_either(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Labels of each row that are both predicted and true, and those that are either, `[n, 2]`."""
    return np.stack([(predicted & truth).sum(1), (predicted | truth).sum(1)], 1)


def _resampled(rows: np.ndarray, measure: Callable[[np.ndarray], float], seed: int) -> np.ndarray:
    """A measure of as many rows drawn with replacement, `[RESAMPLES]`; one draw is in memory at a time."""
    random = np.random.default_rng(seed)
    return np.array([measure(rows[random.integers(len(rows), size=len(rows))]) for _ in range(RESAMPLES)])


def _with_interval(name: str, value: float, samples: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def interval(values: np.ndarray, more_variance: float = 0.0) -> Interval:
    """Mean of `[S]` values, and its 95 % interval by Student's t; `more_variance` is added to that of the mean.

    Raises:
        ValueError: fewer than two values have no spread.
    """
    from scipy.stats import t

    count = len(values)
    if count < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, not {count}")
    mean = float(np.mean(values))
    half = float(t.ppf(0.975, count - 1)) * float(np.sqrt(np.var(values, ddof=1) / count + more_variance))
    return Interval(mean, mean - half, mean + half)
