"""What `pretrain`, `finetune` and `resume` have in common: run, and tell the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from patchword.console import PlainConsole, plain, printable
from patchword.training.tracking import duration
from patchword.training.verdict import COUNTS, collapsed, floors_of, headline, number, paid, spread_told, trust

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
    except Interrupted as stopped:
        print(printable(f"patchword: {stopped}"), file=sys.stderr)
        sys.exit(130)


def show(result: Result) -> None:
    """Scores of a finished run, with floors beside them, and what to do next."""
    console = PlainConsole()
    report = result.report
    for part in ("validation", "test"):
        if part in report:
            title = "cross-validation" if part == "validation" and "cross_validation" in report else part
            console.print(_scores(title, {"model": report[part], **floors_of(report, part)}))
    console.print(headline(report))
    _trust(console, report)
    for guess in report.get("guesses", [])[:3]:
        words = ", ".join(f"{word} {share:.0%}" for word, share in guess["guesses"])
        console.print(plain(f"  {guess['before']} ") + plain("____", "bold") + plain(f" {guess['after']}"))
        console.print(f"    it was '{guess['hidden']}'; guessed {words}")
    if "samples_are" in report:
        console.print(report["samples_are"])
    for sample in report.get("samples", []):
        console.print(plain(f"  {sample['before']} ") + plain("|", "bold") + plain(f" {sample['written']}"))
        if "expected" in sample:
            console.print(f"    expected: {sample['expected']}")
    console.print(
        f"{report['steps']:,} steps, {report['tokens']:,} tokens in {report['seconds']:,.0f} s "
        f"({report['tokens_per_second']:,.0f} tokens/s; {duration(report['total_seconds'])} in all); "
        f"kept are the weights of step {report['best_step']:,}"
        + (f", the mean of the weights of {report['averaged']} evaluations." if report.get("averaged", 0) > 1 else ".")
    )
    labelled, new = ("photos/", "photos/") if result.model.family.modality == "image" else ("labelled.csv", "new.csv")
    folder = result.folder
    after = f"predict {folder} {new}" if "floors" in report else f"finetune {folder} {labelled} --out ..."
    console.print(f"Written: {folder}   Next: patchword {after}")
    page = "Errors, slices, labels to look at again" if "floors" in report else "All of this as a page"
    console.print(f"{page}: patchword report {folder}")


def _scores(part: str, rows: dict[str, dict[str, Any]]) -> Table:
    """A row for the model and for each floor, a column for each metric."""
    table = Table(title=f"{part}, {_count(rows['model'])}", title_justify="left")
    table.add_column("")
    names = [name for name in rows["model"] if not name.endswith(("_low", "_high")) and name not in COUNTS]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for row, metrics in rows.items():
        table.add_row(row, *(number(metrics, name) for name in names))
    return table


def _trust(console: PlainConsole, report: dict[str, Any]) -> None:
    """How far the numbers can be believed, in sentences."""
    if folds := report.get("cross_validation"):
        tries = f" Before it, {len(folds['retries'])} with another seed collapsed." if folds["retries"] else ""
        console.print(f"{spread_told(report)} Kept: the model that was trained on all rows.{tries}")
        if folds["collapsed"] or folds["kept_collapsed"]:
            gone = ["the model that is kept"] if folds["kept_collapsed"] else []
            gone += [f"fold {_numbers(folds['collapsed'])}"] if folds["collapsed"] else []
            console.print(
                f"Collapsed: {' and '.join(gone)} tells nothing apart. A lower --lr or more --epochs may help."
            )
    elif seeds := report.get("seeds"):
        which = "the mean of the weights of seeds " if len(seeds["chosen"]) > 1 else "seed "
        console.print(f"{spread_told(report)} Kept, as best in validation: {which}{_numbers(seeds['chosen'])}.")
        if seeds["collapsed"]:
            console.print(
                f"Collapsed: seed {_numbers(seeds['collapsed'])} tells nothing apart. A lower --lr or "
                "more --epochs may help."
            )
    elif what := collapsed(report["validation"]):
        console.print(f"Collapsed: it {what}. Try a lower --lr, or more --epochs.")
    if "learning_curve" in report:
        console.print(report["learning_curve"]["told"])
    for sentence in filter(None, (paid(report), trust(report))):
        console.print(sentence)


def _numbers(seeds: Sequence[int]) -> str:
    """Counted from 1, as they are while they learn."""
    return ", ".join(str(number + 1) for number in seeds)


def _count(metrics: dict[str, Any]) -> str:
    return next(f"{metrics[name]:,} {name.replace('_', ' ')}" for name in COUNTS if name in metrics)
