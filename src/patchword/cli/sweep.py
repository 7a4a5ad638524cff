"""`patchword sweep`: which settings fine-tune best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchword.cli import options as o

if TYPE_CHECKING:
    from patchword.study.sweep import Sweep
    from patchword.study.trial import Trial


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("sweep")(sweep)


def sweep(
    start: Annotated[str, typer.Argument(help="A model folder of patchword or transformers, or a hub name.")],
    data: Annotated[list[str], typer.Argument(help="Labelled data, as for finetune.")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; the same command goes on with it.")] = Path(
        "runs/sweep"
    ),
    trials: Annotated[int, typer.Option(help="Runs, the default settings included.")] = 20,
    minutes: Annotated[
        float | None,
        typer.Option(help="Time budget in minutes; a trial begins only if it is expected to end within it."),
    ] = None,
    task: o.Task = None,
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    pair_column: o.PairColumn = None,
    where: o.Where = None,
    problem: o.Problem = None,
    windows: o.Windows = None,
    doc_stride: o.DocStride = None,
    class_weights: o.ClassWeights = None,
    prefix: o.Prefix = None,
    prompt: o.Prompt = None,
    max_target_length: o.MaxTargetLength = None,
    validation: o.Validation = None,
    max_length: o.MaxLength = None,
    image_size: o.ImageSize = None,
    augment: o.Augment = None,
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    lr: o.Lr = None,
    batch_tokens: o.BatchTokens = None,
    batch_size: o.BatchSize = None,
    micro_tokens: o.MicroTokens = None,
    memory: o.Memory = None,
    dropout: o.Dropout = None,
    tune: o.Tune = None,
    head_lr: o.HeadLr = None,
    layer_decay: o.LayerDecay = None,
    evaluations: o.Evaluations = None,
    keep: o.Keep = None,
    patience: o.Patience = None,
    precision: o.Precision = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another sweep in --out.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Fine-tune with many settings, and tell which are best in validation.

    Searched are --lr, --epochs, --tune, --batch-size, --dropout, --head-lr and
    --layer-decay; one that is given stays as it is.

    [dim]patchword sweep runs/base tickets.csv --trials 20[/dim]
    """
    settings = dict(locals())
    import patchword
    from patchword.training.loop import Interrupted

    try:
        show(patchword.sweep(**settings))
    except Interrupted:
        sys.exit(130)


def show(found: Sweep) -> None:
    """All trials, the best against the default, and what to do next."""
    from rich.table import Table

    from patchword.console import PlainConsole

    console = PlainConsole()
    table = Table(title=f"{len(found.trials)} trials", title_justify="left")
    for name in ("trial", found.best.metric or "score", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what is not as in the default")
    for trial in sorted(found.trials, key=_place):
        score = f"{_value(trial):.4f}" if trial.metric else ""
        told = "best" if trial is found.best else "" if trial.outcome == "done" else trial.outcome
        number = "default" if trial is found.default else str(trial.number)
        table.add_row(number, score, f"{trial.seconds:.0f}", told, trial.told)
    console.print(table)
    for sentence in verdict(found):
        console.print(sentence)
    console.print(f"Written: {found.folder / 'best'}   Train with the best settings:")
    console.print(found.command, soft_wrap=True)


def verdict(found: Sweep) -> list[str]:
    """What the default lacks to the best, beside what chance does to a score, in sentences."""
    default, best = found.default, found.best
    if default.outcome != "done":
        return [f"The default failed: {default.problem}"]
    told = f"The default reaches {default.metric} {_value(default):.4f}"
    if best is default:
        return [f"{told}, and none of {len(found.trials)} trials is better."]
    apart = abs(_value(best) - _value(default))
    sentences = [f"{told}; it is within {apart:.4f} of the best of {len(found.trials)} trials ({_value(best):.4f})."]
    low, high = (default.metrics.get(f"{default.metric}_{end}") for end in ("low", "high"))
    if low is not None and high is not None:
        half = (high - low) / 2
        sentences.append(
            f"On so few rows a score is off by up to {half:.4f} by chance (95 %): the difference is "
            + ("not more than that." if apart <= half else "more than that.")
        )
    return [*sentences, "The best of many is flattered by the rows that chose it; rows of their own (--test) are not."]


def _value(trial: Trial) -> float:
    """The metric that decides, as a person knows it."""
    return trial.metrics[trial.metric or ""]


def _place(trial: Trial) -> tuple[bool, float]:
    """The best first, those that came to no end last."""
    return trial.outcome != "done", -(trial.score if trial.score is not None else float("-inf"))
