"""Label efficiency: how accurate a classifier is over the number of labels that it learns from.

What is compared is what the rows look like to the classifier: features of frozen encoders, or the words themselves.
All methods learn from the same rows, drawn anew for every seed, and are tested on the same rows.

Shapes: P rows to draw from, R rows to test on, K label counts, S seeds, C classes, width numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchword.tasks.metrics import Interval, interval
from patchword.tasks.probe import draws, probe, tf_idf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Inputs = np.ndarray | Sequence[str]
COLOURS = ("#3478c6", "#d9662b", "#8a8f98", "#3f9b5f", "#9a5fc0", "#b8860b")
_MARKS = "osD^vP"


@dataclass(frozen=True)
class LabelCurve:
    """One method over the label counts.

    Args:
        name: of the method.
        counts: labels learnt from, `[K]`.
        right: which test rows were right, bool `[K, S, R]`.
    """

    name: str
    counts: tuple[int, ...]
    right: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Share of the test rows that were right, `[K, S]`."""
        return np.asarray(self.right.mean(2))

    def interval(self, k: int) -> Interval:
        """Accuracy at count number k: the mean over seeds and its 95 % interval (Student's t with S - 1 degrees).

        It is the spread from which labels were drawn; that the test rows are a sample, too, is not in it.
        """
        return interval(self.accuracy[k])


def interval_over_rows(values: np.ndarray) -> Interval:
    """Mean of `[R]` values of test rows (right or not, or the difference of two such), and its 95 % interval.

    The spread of the mean is normal, with the variance of the rows divided by their number.
    """
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values.astype(np.float64), ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def difference(a: LabelCurve, b: LabelCurve, k: int) -> Interval:
    """How much more accurate `a` is than `b` at count number k, paired by seed and by test row, with 95 %.

    Two sources of chance are in it: which rows were labelled (over seeds), and which rows the test happens to hold
    (the variance over rows of the difference that a row makes, divided by R). Their sum counts a part twice, so the
    interval is rather too wide than too narrow.
    """
    each = a.right[k].astype(np.float64) - b.right[k]  # [S, R]
    rows = each.mean(0)
    return interval(each.mean(1), float(rows.var(ddof=1)) / len(rows))


def label_efficiency(
    methods: Mapping[str, tuple[Inputs, Inputs]],
    pool_targets: np.ndarray,
    test_targets: np.ndarray,
    counts: Sequence[int],
    seeds: Sequence[int],
    progress: Callable[[], None] = lambda: None,
) -> dict[str, LabelCurve]:
    """Every method over the label counts, on the same rows.

    Args:
        methods: name -> (the pool, the test rows), as frozen features `[P, width]` and `[R, width]`, which a linear
            probe reads, or as texts, which TF-IDF reads.
        pool_targets: classes to draw labelled rows from, `[P]`.
        test_targets: classes of the test rows, `[R]`.
        counts: labels to learn from.
        seeds: one draw of labelled rows each.
        progress: called after each seed of each method.
    """
    from threadpoolctl import threadpool_limits

    drawn = [draws(pool_targets, counts, seed) for seed in seeds]
    curves = {}
    # These fits are so small that two threads wait for each other longer than one computes.
    with threadpool_limits(1):
        for name, (pool, test) in methods.items():
            right = np.zeros((len(counts), len(seeds), len(test_targets)), bool)
            for s, of_seed in enumerate(drawn):
                for k, rows in enumerate(of_seed):
                    targets = pool_targets[rows]
                    if isinstance(pool, np.ndarray):
                        predicted = probe(pool[rows], targets, np.asarray(test))
                    else:
                        predicted = tf_idf([pool[i] for i in rows], targets, list(test))
                    right[k, s] = predicted == test_targets
                progress()
            curves[name] = LabelCurve(name, tuple(counts), right)
    return curves


def plot_labels(
    curves: Sequence[LabelCurve],
    chance: float | None = None,
    xlabel: str = "labels",
    size: tuple[float, float] = (5.6, 3.9),
) -> Figure:
    """Accuracy over the number of labels, with 95 % intervals over seeds, as a figure (`size` in inches)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    for i, curve in enumerate(curves):
        ends = [curve.interval(k) for k in range(len(curve.counts))]
        colour = COLOURS[i % len(COLOURS)]
        axes.fill_between(
            curve.counts, [e.low for e in ends], [e.high for e in ends], color=colour, alpha=0.18, linewidth=0
        )
        mark = _MARKS[i % len(_MARKS)]
        axes.plot(curve.counts, [e.mean for e in ends], f"{mark}-", color=colour, markersize=5, label=curve.name)
    if chance is not None:
        axes.axhline(chance, color="#8a8f98", linestyle=":", label="guessing")
    axes.set_xscale("log")
    ticks = curves[0].counts
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"])
    axes.set_xlabel(xlabel)
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
