"""Figures of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchword.console import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SIZE = (5.6, 3.7)  # inches: a plot that reads at the width of a phone
_BLUE, _RED, _GREY = "#1f5a96", "#c4501b", "#808890"
_WRITTEN = 12  # classes up to which the cells of a confusion matrix have their numbers in them


def plot_confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> Drawing:
    """Rows that have a label, by what was said; the shade is the share of the label's rows."""
    from matplotlib.figure import Figure

    cells = np.asarray(matrix)
    shares = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    side = min(5.6, 2.4 + 0.4 * len(labels))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [drawable(label if len(label) <= 18 else label[:17] + "…") for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=90 if len(labels) > 3 else 0, fontsize=8)
    axes.set_yticks(range(len(labels)), names, fontsize=8)
    axes.set_xlabel("said")
    axes.set_ylabel("is")
    if len(labels) <= _WRITTEN:
        for (i, j), count in np.ndenumerate(cells):
            # Not the page's text colour: the cells keep theirs on a dark page.
            colour = "#ffffff" if shares[i, j] > 0.5 else "#1d2126"
            axes.text(j, i, f"{count:,}" if count else "", ha="center", va="center", color=colour, fontsize=9)
    return figure


def plot_coverage(curve: Sequence[Mapping[str, float]]) -> Drawing:
    """What is right if only the surest rows are answered."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [100 * point["share"] for point in curve], [100 * point["accuracy"] for point in curve], "o-", color=_BLUE
    )
    axes.set_xlabel("answered, surest first (%)")
    axes.set_ylabel("of them right (%)")
    axes.set_xlim(0, 103)
    axes.grid(alpha=0.25)
    return figure


def plot_reliability(bins: Sequence[Mapping[str, float]]) -> Drawing:
    """Confidence against accuracy; the size of a point is the number of its rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    most = max(point["rows"] for point in bins)
    low = 10 * int(min(min(point["confidence"], point["accuracy"]) for point in bins) * 10)
    axes.plot([low, 100], [low, 100], color=_GREY, linestyle=":", label="confidences that hold")
    axes.plot([100 * b["confidence"] for b in bins], [100 * b["accuracy"] for b in bins], color=_RED, linewidth=1)
    axes.scatter(
        [100 * b["confidence"] for b in bins],
        [100 * b["accuracy"] for b in bins],
        [12 + 150 * b["rows"] / most for b in bins],
        color=_RED,
        label="this model",
    )
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("right (%)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_more_labels(curve: Mapping[str, Any], model: float | None = None) -> Drawing:
    """Accuracy of simple methods over the number of labels.

    Args:
        curve: as `tasks.learning_curve` gives it.
        model: accuracy of the fine-tuned model on the same rows, with as many labels as the last count.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    counts = curve["counts"]
    methods = [name for name in curve if name not in ("counts", "rows", "folds", "told")]
    for name, colour in zip(methods, (_BLUE, _GREY), strict=False):
        axes.plot(counts, 100 * np.asarray(curve[name]), "o-", color=colour, markersize=4, label=name)
    if model is not None:
        axes.scatter([counts[-1]], [100 * model], 60, color=_RED, marker="D", label="this model")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labelled rows")
    axes.set_ylabel("right (%)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_pictures(pictures: Sequence[np.ndarray], maps: Sequence[np.ndarray | None], titles: Sequence[str]) -> Drawing:
    """Pictures in rows of three, each with what its class token looks at beside it.

    Args:
        pictures: `[height, width, channels]` each, from 0 to 1.
        maps: `[rows, columns]` of patches each; None where the model has none.
        titles: of each.
    """
    from matplotlib.figure import Figure

    columns = 3
    with_maps = maps[0] is not None
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(5.6, rows * (4.2 if with_maps else 2.2)), layout="constrained")
    grid = figure.subplots(rows * (2 if with_maps else 1), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (picture, share, title) in enumerate(zip(pictures, maps, titles, strict=True)):
        row, column = (i // columns) * (2 if with_maps else 1), i % columns
        grid[row, column].imshow(picture, cmap="gray" if picture.shape[-1] == 1 else None)
        grid[row, column].set_title(drawable(title), fontsize=8)
        if share is not None:
            grid[row + 1, column].imshow(share, cmap="viridis", vmin=0)
    return figure


def plot_learning(lines: Sequence[Mapping[str, Any]], only_in_training: Sequence[str] = ()) -> Drawing | None:
    """`training.curves.plot_curves` at a phone's width; None where no step was written down."""
    from patchword.training.curves import plot_curves

    steps = [dict(line) for line in lines if line["kind"] == "train"]
    if not steps:
        return None
    looks = [dict(line) for line in lines if line["kind"] == "validation"]
    figure: Drawing = plot_curves(steps, looks, only_in_training)
    width, height = SIZE
    figure.set_size_inches(width, height * (1.5 if only_in_training and looks else 1))
    return figure
