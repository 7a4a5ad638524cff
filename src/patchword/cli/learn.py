"""What `pretrain`, `finetune` and `resume` have in common: run, and tell the result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from patchword.training.stages import Result


def learn(stage: str, settings: dict[str, Any]) -> None:
    """Call a stage with the options that were given."""
    from patchword.training import stages
    from patchword.training.loop import Interrupted

    call = getattr(stages, stage)
    settings = {name: str(v) if name == "tokenizer" and v else v for name, v in settings.items()}
    try:
        show(call(**settings))
    except Interrupted:
        sys.exit(130)


def show(result: Result) -> None:
    """Scores of a finished run, with floors beside them, and what to do next."""
    console = Console()
    report = result.report
    for part in ("validation", "test"):
        if part in report:
            floors = report.get("floors" if part == "validation" else f"{part}_floors", {})
            console.print(_scores(part, {"model": report[part], **floors}))
    for guess in report.get("guesses", [])[:3]:
        words = ", ".join(f"{word} {share:.0%}" for word, share in guess["guesses"])
        console.print(f"  {guess['before']} [bold]____[/] {guess['after']}", highlight=False)
        console.print(f"    it was '{guess['hidden']}'; guessed {words}", highlight=False)
    for sample in report.get("samples", []):
        console.print(f"  {sample['before']} [bold]|[/] {sample['written']}", highlight=False)
        if "expected" in sample:
            console.print(f"    expected: {sample['expected']}", highlight=False)
    console.print(
        f"{report['steps']:,} steps, {report['tokens']:,} tokens in {report['seconds']:,.0f} s "
        f"({report['tokens_per_second']:,.0f} tokens/s); the best was step {report['best_step']:,}.",
        highlight=False,
    )
    labelled, new = ("photos/", "photos/") if result.model.family.modality == "image" else ("labelled.csv", "new.csv")
    folder = result.folder
    after = f"predict {folder} {new}" if "floors" in report else f"finetune {folder} {labelled} --out ..."
    console.print(f"Written: {folder}   Next: patchword {after}", highlight=False)


def _scores(part: str, rows: dict[str, dict[str, Any]]) -> Table:
    """A row for the model and for each floor, a column for each metric."""
    table = Table(title=f"{part}, {_count(rows['model'])}", title_justify="left")
    table.add_column("")
    names = [name for name in rows["model"] if not name.endswith(("_low", "_high")) and name not in _COUNTS]
    for name in names:
        table.add_column(name, justify="right")
    for row, metrics in rows.items():
        table.add_row(row, *(format_metric(metrics, name) for name in names))
    return table


_COUNTS = ("rows", "hidden_tokens", "hidden_patches")


def _count(metrics: dict[str, Any]) -> str:
    return next(f"{metrics[name]:,} {name.replace('_', ' ')}" for name in _COUNTS if name in metrics)


def format_metric(metrics: dict[str, Any], name: str) -> str:
    """A number, with its interval where there is one."""
    if name not in metrics:
        return ""
    text = f"{metrics[name]:.3f}"
    if f"{name}_low" in metrics:
        text += f" ({metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
    return text
