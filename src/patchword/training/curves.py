"""The curves of a run as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchword.data.atomic import write_file
from patchword.training.tracking import read_metrics


def draw_curves(folder: Path, only_in_training: Sequence[str] = ()) -> None:
    """`curves.png`: the loss while training and in validation, and the learning rate, over steps.

    Args:
        folder: of the run.
        only_in_training: terms of the training loss that the validation loss does not have.
    """
    lines = read_metrics(folder)
    steps = [line for line in lines if line["kind"] == "train"]
    looks = [line for line in lines if line["kind"] == "validation"]
    if not steps:
        return
    figure = plot_curves(steps, looks, only_in_training)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_file(folder / "curves.png", image.getvalue())


def plot_curves(steps: list[dict[str, Any]], looks: list[dict[str, Any]], only_in_training: Sequence[str] = ()) -> Any:
    """The figure of `draw_curves`, from lines of `metrics.jsonl`.

    A training loss with terms that the validation loss does not have is another quantity: it has axes of its own.
    """
    from matplotlib.figure import Figure

    apart = bool(only_in_training and looks)
    figure = Figure(figsize=(8, 6.5 if apart else 4.5), layout="constrained")
    panels = figure.subplots(2 if apart else 1, 1, squeeze=False, sharex=True)[:, 0]
    axes, judged = panels[0], panels[-1]
    x = [line["step"] for line in steps]
    axes.plot(x, [line["loss"] for line in steps], color="#9db7d5", linewidth=0.8, label="each step")
    smooth, value = [], 0.0
    for number, line in enumerate(steps, 1):
        value = 0.95 * value + 0.05 * line["loss"]
        smooth.append(value / (1 - 0.95**number))
    axes.plot(x, smooth, color="#1f5a96", label="smoothed")
    loss = "squared error by the variance" if looks and "r2" in looks[0] else "loss (nats)"
    if looks:
        at = [line["step"] for line in looks]
        # The steps of a regression know squared errors by the variance alone, which 1 - R^2 is.
        values = [1 - line["r2"] if "r2" in line else line["loss"] for line in looks]
        judged.plot(at, values, "o-", color="#c4501b", label="validation")
        if "unigram_loss" in looks[0]:
            judged.axhline(looks[0]["unigram_loss"], color="#666666", linestyle=":", label="word frequencies alone")
    axes.set_ylabel("training " + loss if apart else loss)
    if apart:
        axes.set_title(f"The training loss holds: {', '.join(only_in_training)}", fontsize=9)
        judged.set_ylabel("validation " + loss)
    judged.set_xlabel("step")
    for panel in panels:
        panel.grid(alpha=0.25)
    rates = axes.twinx()
    rates.plot(
        x,
        [line["lr"] for line in steps],
        color="#7a9a5a",
        linewidth=1.0,
        linestyle="--",
        label="learning rate",
    )
    rates.set_ylabel("learning rate")
    rates.set_ylim(bottom=0)
    drawn = [axes, judged, rates] if apart else [axes, rates]
    handles = [handle for panel in drawn for handle in panel.get_legend_handles_labels()[0]]
    named = [str(handle.get_label()) for handle in handles]
    figure.legend(handles, named, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
