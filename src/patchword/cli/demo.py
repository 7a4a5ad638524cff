"""`patchword demo`: the whole of it in three to four minutes, on what the installation brings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/demo"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell nothing while it runs.")] = False,
) -> None:
    """Pretrain, fine-tune, compare and draw, on text and images that the installation brings. About 3 minutes."""
    import warnings

    from patchword.demo.run import run_demo
    from patchword.errors import Notice

    with warnings.catch_warnings(action="ignore", category=Notice):  # its texts are cut on purpose
        run_demo(out, quiet)
