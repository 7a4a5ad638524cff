"""`patchword`: the commands, and how errors reach a person."""

from __future__ import annotations

import codecs
import io
import sys
import warnings

import typer

from patchword.cli import (
    check,
    demo,
    embed,
    evaluate,
    explain,
    export,
    finetune,
    generate,
    info,
    predict,
    presets,
    pretrain,
    report,
    resume,
    sweep,
)

app = typer.Typer(
    name="patchword",
    help="One Transformer for patches and words: pretrain once, fine-tune many times.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    pretrain,
    check,
    finetune,
    sweep,
    resume,
    report,
    evaluate,
    predict,
    generate,
    embed,
    info,
    explain,
    export,
    presets,
    demo,
):
    module.add(app)


def _version(asked: bool) -> None:
    if asked:
        from patchword import __version__

        typer.echo(f"patchword {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A `Notice` is for the person: one sentence, and no line of code."""
    from patchword.console import printable
    from patchword.errors import Notice

    if category is Notice:
        return printable(f"patchword: {message}\n")
    return _usual_format(message, category, filename, lineno, line)


_usual_format = warnings.formatwarning


def main() -> None:
    """Run a command; a `UserError` is one message and exit code 2."""
    from patchword.console import printable
    from patchword.data.names import escape_in_output
    from patchword.errors import UserError

    warnings.formatwarning = _format_warning
    codecs.register_error("patchword.escape", escape_in_output)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no output is lost to what its encoding lacks
            stream.reconfigure(errors="patchword.escape")
    try:
        app()
    except UserError as error:
        print(printable(f"patchword: {error}"), file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        # A full disk, no permission: not ours to mend, but no reason for a traceback.
        from patchword.data.atomic import NO_ROOM

        where = f"{error.filename}: " if error.filename else "A file can not be read or written: "
        room = " Make room, then run the same command again." if error.errno in NO_ROOM else ""
        print(printable(f"patchword: {where}{error.strerror or error}.{room}"), file=sys.stderr)
        sys.exit(2)
