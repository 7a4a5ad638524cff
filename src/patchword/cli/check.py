"""`patchword check`: what is wrong with data, before a model learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from patchword.cli import options as o

if TYPE_CHECKING:
    from patchword.checks.findings import Report


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("check")(check)


def check(
    data: Annotated[list[str], typer.Argument(help="Labelled texts or pictures: files, folders, patterns.")],
    validation: Annotated[list[str] | None, typer.Option(help="The rows that are validated on.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="The rows that are tested on.")] = None,
    model: Annotated[str | None, typer.Option(help="A model folder: count its tokens, and what it cuts off.")] = None,
    text_column: o.TextColumn = None,
    pair_column: o.PairColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    problem: o.Problem = None,
    where: o.Where = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there are problems.")] = False,
) -> None:
    """Look at data before a model learns from them: rows that can not be used, labels, duplicates, leaks.

    [dim]patchword check train.csv --test test.csv --model runs/base[/dim]
    """
    from json import dumps

    from patchword.tasks.checking import check as find

    report = find(
        data,
        validation=validation,
        test=test,
        model=model,
        text_column=text_column,
        pair_column=pair_column,
        image_column=image_column,
        label_column=label_column,
        where=where,
        problem=problem,
    )
    if json:
        typer.echo(dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    if strict and report.problems:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    from rich.padding import Padding

    from patchword.console import PlainConsole, plain

    console = PlainConsole()
    if not console.is_terminal:  # lines stay whole in a file
        console.width = 10_000
    for line in report.about:
        indent = len(line) - len(line.lstrip())
        console.print(Padding(plain(line.strip()), (0, 0, 0, indent), expand=False))
    for finding in report.findings:
        problem = finding.severity == "problem"
        console.print()
        console.print(plain("✗ " if problem else "! ", "bold red" if problem else "bold yellow") + plain(finding.title))
        for place in finding.places:
            console.print(Padding(plain(place, "dim"), (0, 0, 0, 4), expand=False))
        console.print(Padding(plain(finding.what_to_do), (0, 0, 0, 2), expand=False))
    console.print()
    console.print(plain(report.summary, "bold"))
