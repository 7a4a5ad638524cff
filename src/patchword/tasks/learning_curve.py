"""What more labels would bring: a simple method on growing parts of the labelled rows, and a power law through them.

The error of a classifier falls over its labels about as a n^-b (Hestness et al. 2017); on 2 points more than b has
numbers nothing could be said of it, so four counts are measured, and the rows that it is tested on
(all labelled ones, by cross-validation) are resampled.

Shapes: K label counts, R rows to test on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
MOST_ROWS = 2000
"""More labels than this are not few any more, and no curve is drawn."""
_FEWEST_ROWS = 16
_RESAMPLES = 1000
_LITTLE, _SOME = 0.01, 0.03  # of accuracy

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Numbers of the labelled rows to train on, and of those to test on, `[R]` -> predicted classes of these, `[R]`."""


def in_proportion(targets: np.ndarray, counts: Sequence[int], seed: int) -> list[np.ndarray]:
    """Row numbers for each label count, `[count]` each: every class in its proportion, smaller in larger.

    Args:
        targets: classes `[P]`.
        counts: labels to draw.
        seed: of the order.
    """
    random = np.random.default_rng(seed)
    place = np.empty(len(targets))
    for c in np.unique(targets):
        rows = random.permutation(np.flatnonzero(targets == c))
        place[rows] = (np.arange(len(rows)) + random.random()) / len(rows)
    order = np.argsort(place, kind="stable")
    return [np.sort(order[:count]) for count in counts]


def learning_curve(methods: dict[str, Fit], targets: np.ndarray, folds: np.ndarray) -> dict[str, Any] | None:
    """Accuracy of each method with 1/8, 1/4, 1/2 and all of the labelled rows of the other folds, by cross-validation.

    Args:
        methods: by name; the first is the one that the sentence is about.
        targets: classes of the labelled rows, `[P]`.
        folds: number of the fold of each, `[P]`.

    Returns:
        "counts" `[K]`, "rows" (P), "folds", under each name the accuracy at each count, `[K]`, and "told", a sentence;
        None where there are too few rows or more than `MOST_ROWS`.
    """
    if not _FEWEST_ROWS <= len(targets) <= MOST_ROWS:
        return None
    numbers = np.unique(folds)
    most = len(targets) - int(np.bincount(folds).max())
    counts = [round(most * share) for share in SHARES]
    splits = []
    for fold in numbers:
        others = np.flatnonzero(folds != fold)
        drawn = in_proportion(targets[others], counts[:-1], int(fold))
        splits.append(([others[rows] for rows in drawn] + [others], np.flatnonzero(folds == fold)))
    curve: dict[str, Any] = {"counts": counts, "rows": len(targets), "folds": len(numbers)}
    for name, fit in methods.items():
        wrong = np.zeros((len(counts), len(targets)), bool)
        for learn, asked in splits:
            for k, rows in enumerate(learn):
                wrong[k, asked] = fit(rows, asked) != targets[asked]
        curve[name] = (1.0 - wrong.mean(1)).tolist()
        curve.setdefault("told", told(name, counts, wrong, len(numbers)))
    return curve


def power_law(counts: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a and b of error = a n^-b, by least squares of the logarithms.

    Args:
        counts: n, `[K]`.
        errors: above 0, `[..., K]`.

    Returns:
        a and b, `[...]`.
    """
    x, y = np.log(counts), np.log(errors)
    x_mean, y_mean = x.mean(), y.mean(-1)
    slope = ((x - x_mean) * (y - y_mean[..., None])).sum(-1) / ((x - x_mean) ** 2).sum()
    return np.exp(y_mean - slope * x_mean), -slope


def twice(counts: Sequence[int], wrong: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Accuracy that the power law predicts for twice the most labels, and the ends of its 95 % interval.

    It continues from what was measured with the most labels. The interval is that of the slope, by a bootstrap over the
    rows tested on, each with its predictions at all counts; that errors do not fall as a power law is not in it.

    Args:
        counts: labels, `[K]`, ascending.
        wrong: which rows were wrong at each count, bool `[K, R]`.
        seed: of the resampling.
    """
    rows = wrong.shape[1]
    least = 0.5 / rows  # no error at all is less than half a row's
    weights = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), _RESAMPLES) / rows  # [B, R]
    errors = weights @ wrong.T  # [B, K]
    n = np.asarray(counts, np.float64)
    exponents = power_law(n, np.maximum(errors, least))[1]
    exponent = power_law(n, np.maximum(wrong.mean(1), least))[1]
    last = float(wrong[-1].mean())
    low, high = np.quantile(1.0 - last * 2.0**-exponents, [0.025, 0.975])
    then, low, high = (min(max(value, 0.0), 1.0) for value in (1.0 - last * 2.0 ** -float(exponent), low, high))
    return float(then), float(low), float(high)


def told(name: str, counts: Sequence[int], wrong: np.ndarray, folds: int) -> str:
    """What twice as many labels would bring to this method, in a sentence."""
    now = 1.0 - float(wrong[-1].mean())
    then, low, high = twice(counts, wrong)
    which = (
        f"With {counts[-1]:,} labels, a {name} reaches an accuracy of {now:.3f} ({folds}-fold cross-validation on "
        f"{wrong.shape[1]:,} rows)."
    )
    ends = f"95 % interval of the accuracy then: {low:.3f} to {high:.3f}"
    if high - now < _SOME:
        return f"{which} Twice as many labels would hardly improve it ({ends})."
    if then - now < _LITTLE or low <= now:
        return f"{which} Whether twice as many labels would improve it cannot be decided from these rows ({ends})."
    return (
        f"{which} With twice as many labels it is expected to reach about {then:.3f} ({ends}). This model was not "
        "trained on fewer labels, so its own gain may differ."
    )
