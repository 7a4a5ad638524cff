"""`patchword resume`: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchword.cli import options as o
from patchword.cli.learn import learn


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("resume")(resume)


def resume(
    out: Annotated[Path, typer.Argument(help="The folder of the run.")],
    quiet: o.Quiet = False,
) -> None:
    """Go on with a run that was interrupted, exactly as if it had not been."""
    learn("resume", {"out": out, "quiet": quiet})
