"""What more labels would bring: a simple method on growing parts of the labelled rows, and a power law through them.

The error of a classifier falls over its labels about as a n^-b (Hestness et al. 2017); on 2 points more than b has
numbers nothing could be said of it, so four counts are measured, and the rows that it is tested on are resampled.

Shapes: K label counts, D draws, R rows to test on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
DRAWS = 5
MOST_ROWS = 2000
"""More labels than this are not few any more, and no curve is drawn."""
_FEWEST_ROWS = 16
_RESAMPLES = 1000
_LITTLE, _SOME = 0.01, 0.03  # of accuracy

Fit = Callable[[np.ndarray], np.ndarray]
"""Numbers of the labelled rows to learn from, `[count]` -> predicted classes of the rows to test on, `[R]`."""


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


def learning_curve(methods: dict[str, Fit], targets: np.ndarray, truth: np.ndarray) -> dict[str, Any] | None:
    """Accuracy of each method on 1/8, 1/4, 1/2 and all of the labelled rows, over draws of them.

    Args:
        methods: by name; the first is the one that the sentence is about.
        targets: classes of the labelled rows, `[P]`.
        truth: classes of the rows to test on, `[R]`.

    Returns:
        "counts" `[K]`, under each name accuracies `[K, D]` (all rows can be drawn once only, so that the last row has
        one number), and "told", a sentence; None where there are too few rows or more than `MOST_ROWS`.
    """
    if not _FEWEST_ROWS <= len(targets) <= MOST_ROWS:
        return None
    counts = [round(len(targets) * share) for share in SHARES]
    drawn = [in_proportion(targets, counts, seed) for seed in range(DRAWS)]
    curve: dict[str, Any] = {"counts": counts}
    for name, fit in methods.items():
        wrong = [
            np.stack([fit(rows[k]) != truth for rows in (drawn if count < len(targets) else drawn[:1])])
            for k, count in enumerate(counts)
        ]
        curve[name] = [(1.0 - of_count.mean(1)).tolist() for of_count in wrong]
        curve.setdefault("told", told(name, counts, wrong))
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


def twice(counts: Sequence[int], wrong: Sequence[np.ndarray], seed: int = 0) -> tuple[float, float, float]:
    """Accuracy that the power law promises for twice the most labels: as it is, and the ends of its 95 % interval.

    It goes on from what was measured with the most labels. The interval is a bootstrap of the draws and of the rows
    tested on; that errors do not fall as a power law is not in it.

    Args:
        counts: labels, `[K]`, ascending.
        wrong: of each count, which rows were wrong in each draw, bool `[D, R]`; D may differ.
        seed: of the resampling.
    """
    random = np.random.default_rng(seed)
    rows = wrong[0].shape[1]
    least = 0.5 / rows  # no error at all is less than half a row's
    weights = random.multinomial(rows, np.full(rows, 1 / rows), _RESAMPLES) / rows  # [B, R]
    errors = np.empty((_RESAMPLES, len(counts)))
    for k, of_count in enumerate(wrong):
        of_draw = weights @ of_count.T  # [B, D]
        chosen = random.integers(len(of_count), size=of_draw.shape)
        errors[:, k] = np.take_along_axis(of_draw, chosen, 1).mean(1)
    n = np.asarray(counts, np.float64)
    exponents = power_law(n, np.maximum(errors, least))[1]
    exponent = power_law(n, np.maximum([of_count.mean() for of_count in wrong], least))[1]
    last = float(wrong[-1].mean())
    low, high = np.quantile(1.0 - last * 2.0**-exponents, [0.025, 0.975])
    return 1.0 - last * 2.0 ** -float(exponent), float(low), float(min(high, 1.0))


def told(name: str, counts: Sequence[int], wrong: Sequence[np.ndarray]) -> str:
    """What twice as many labels would bring, in a sentence."""
    now = 1.0 - float(wrong[-1].mean())
    then, low, high = twice(counts, wrong)
    which = f"{counts[-1]:,} labels bring a {name} to an accuracy of {now:.3f}; twice as many would bring it"
    if high - now < _SOME:
        return f"{which} hardly any further (between {low:.3f} and {high:.3f} with 95 %)."
    if then - now < _LITTLE or low <= now:
        return (
            f"{which} to about {then:.3f}; on so few rows that may be no further at all (between {low:.3f} and "
            f"{high:.3f} with 95 %)."
        )
    return f"{which} to about {then:.3f} (between {low:.3f} and {high:.3f} with 95 %)."
