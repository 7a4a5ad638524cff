"""What a run tells while it goes: a bar, `metrics.jsonl`, TensorBoard, and a plot of its curves."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from patchword.console import PlainConsole, plain
from patchword.data.atomic import naming, write_file
from patchword.errors import Notice

METRICS = "metrics.jsonl"

console = PlainConsole(stderr=True)

Say = Callable[[str], None]
"""Takes a sentence for who is watching."""


def said(quiet: bool) -> Say:
    """What shows sentences, or nothing."""
    return (lambda text: None) if quiet else (lambda text: console.print(text))


LINE_SECONDS = 30.0
"""Seconds between two progress lines where the output is not a terminal."""


class Activity:
    """A phase that is running. Its text can change, for example with a count.

    Args:
        text: what is being done, such as "Reading the data ...".
    """

    def __init__(self, text: str) -> None:
        self.text = self._phase = text
        self.began = self._pass_began = time.monotonic()
        self.show: Callable[[str], None] = lambda text: None
        self._share = 0.0

    def update(self, text: str) -> None:
        """Change the text."""
        self.text = text
        self.show(text)

    def rows(self, done: int, total: int, share: float) -> None:
        """Show how many rows are done, and the time left; a callback for `Compute.progress`.

        Args:
            done, total: rows.
            share: of the work, in [0, 1]. A smaller one than before begins another pass.
        """
        if share < self._share:
            self._pass_began = time.monotonic()
        self._share = share
        seconds = time.monotonic() - self._pass_began
        left = f", about {duration(seconds / share - seconds)} left" if seconds > 2 and share > 0 else ""
        self.update(f"{self._phase} {done:,} of {total:,} rows{left}")


@contextmanager
def working(text: str, quiet: bool = False) -> Iterator[Activity]:
    """Report a phase while it runs.

    A terminal shows a spinner. Any other output gets a line at the start, and one more every `LINE_SECONDS`.

    Args:
        text: what is being done, such as "Reading the data ...".
        quiet: show nothing.
    """
    activity = Activity(text)
    if quiet:
        yield activity
    elif console.is_terminal:
        with console.status(plain(text)) as status:
            activity.show = lambda text: status.update(plain(text))
            yield activity
    else:
        console.print(text)
        ended = threading.Event()

        def report() -> None:
            while not ended.wait(LINE_SECONDS):
                seconds = time.monotonic() - activity.began
                console.print(f"{activity.text} ({duration(seconds)} so far)")

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            yield activity
        finally:
            ended.set()
            thread.join()


def duration(seconds: float) -> str:
    """A time for a person: "45 s", "2 min 10 s", "3 h 20 min"."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


class Tracker:
    """Writes down what happens, and shows it.

    Args:
        folder: of the run; None writes nothing.
        step: the last step that counts. Lines of later ones, written before a kill, are removed.
        quiet: no bar and no lines.
        name: of what is trained, such as "seed 2 of 5".
        seconds_left: the progress of this training, in [0, 1] -> seconds until the whole command has ended; None
            where that is not known.
    """

    def __init__(
        self,
        folder: Path | None,
        step: int = 0,
        quiet: bool = False,
        name: str = "training",
        seconds_left: Callable[[float], float | None] | None = None,
    ) -> None:
        self._file = None
        self._board: Any = None
        self._path = path = (folder or Path()) / METRICS
        self._board_folder = (folder or Path()) / "tensorboard"
        if folder is not None:
            kept = [line for line in read_metrics(folder) if line["step"] <= step]
            write_file(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
            self._file = path.open("a", buffering=1)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._quiet = quiet
        self._name = name
        self._seconds_left = seconds_left or (lambda progress: None)
        self._line_at = time.monotonic()
        self._task = self._bar.add_task(name, total=1.0, told="", left="")
        self._smooth: float | None = None

    def __enter__(self) -> Tracker:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        for file, path in ((self._file, self._path), (self._board, self._board_folder)):
            # What could not be written is written again by the error that is on its way, or by this one.
            with suppress(OSError) if error else naming(path):
                if file:
                    file.close()

    def step(self, progress: float, values: Mapping[str, float]) -> None:
        """After an optimizer step: `step`, `loss`, `lr`, `tokens_per_second`, ..."""
        loss = values["loss"]
        self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        told = f"step {int(values['step'])}  loss {self._smooth:.3f}  {values['tokens_per_second']:,.0f} tokens/s"
        seconds = self._seconds_left(progress)
        left = "" if seconds is None else f"about {duration(seconds)} left"
        self._bar.update(self._task, completed=progress, told=told, left=left)
        if not self._quiet and not console.is_terminal and time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            console.print(f"{self._name}: {progress:.0%}  {told}" + (f"  {left}" if left else ""))
        self._write("train", values)

    def evaluation(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        """After a look at the validation part."""
        shown = "  ".join(
            f"{name} {value:.4f}"
            for name, value in metrics.items()
            if isinstance(value, float) and "_low" not in name and "_high" not in name
        )
        if not self._quiet:
            self._bar.console.print(f"step {step:>6}  validation: {shown}" + ("  (best so far)" if best else ""))
        self._write("validation", {"step": step, **metrics})

    def _write(self, kind: str, values: Mapping[str, float]) -> None:
        if self._file is None:
            return
        with naming(self._path):
            self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        with naming(self._board_folder):
            if self._board is None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self._board_folder))
            for name, value in values.items():
                if name != "step":
                    self._board.add_scalar(f"{kind}/{name}", value, int(values["step"]))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; a last one that a kill cut short is left out, and damaged ones are counted."""
    path = folder / METRICS
    lines, damaged = [], []
    written = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(written, 1):
        if parsed := _metrics_line(line):
            lines.append(parsed)
        elif line.strip(b"\0 \r") and number < len(written):
            damaged.append(number)
    if damaged:
        warnings.warn(
            f"{path}: {len(damaged):,} lines are damaged and left out, the first is line {damaged[0]}.",
            Notice,
            stacklevel=2,
        )
    return lines


def _metrics_line(line: bytes) -> dict[str, Any] | None:
    """A line as `Tracker` writes it: a kind, a step, and numbers; None where it is another."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
        return None
    numbers = [value for name, value in values.items() if name != "kind"]
    whole = type(values.get("step")) is int and all(isinstance(value, int | float) for value in numbers)
    return values if whole else None
