"""`patchword report`: what a run came to, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("report")(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; several are compared.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page. Where not given, report.html in the (first) run's folder.")
    ] = None,
) -> None:
    """One HTML page of a run: scores beside floors, errors, slices, labels to look at again, settings, cost.

    [dim]patchword report runs/tickets[/dim]
    """
    from patchword.console import printable
    from patchword.data.names import shown_path
    from patchword.report.page import Page
    from patchword.report.run_page import run_page

    where = out or runs[0] / "report.html"
    Page.check_can_be_written(where)
    run_page(runs).write(where)
    typer.echo(printable(f"Written: {shown_path(where)}"))
