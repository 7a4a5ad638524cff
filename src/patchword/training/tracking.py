"""What a run tells while it goes: a bar, `metrics.jsonl`, TensorBoard, and a plot of its curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from patchword.models.folder import write_file

console = Console(stderr=True, highlight=False)

Say = Callable[[str], None]
"""Takes a sentence for who is watching."""


def said(quiet: bool) -> Say:
    """What shows sentences, or nothing."""
    return (lambda text: None) if quiet else (lambda text: console.print(text, markup=False))


def working(text: str, quiet: bool = False) -> AbstractContextManager[object]:
    """Something that moves beside what is being done, where a person is watching."""
    return nullcontext() if quiet or not console.is_terminal else console.status(text)


class Tracker:
    """Writes down what happens, and shows it.

    Args:
        folder: of the run; None writes nothing.
        step: the last step that counts. Lines of later ones, written before a kill, are removed.
        quiet: no bar.
    """

    def __init__(self, folder: Path | None, step: int = 0, quiet: bool = False) -> None:
        self._file = None
        self._board: Any = None
        if folder is not None:
            path = folder / "metrics.jsonl"
            kept = [line for line in read_metrics(folder) if line["step"] <= step]
            write_file(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
            self._file = path.open("a", buffering=1)
            self._board_folder = folder / "tensorboard"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._quiet = quiet
        self._task = self._bar.add_task("training", total=1.0, told="")
        self._smooth: float | None = None

    def __enter__(self) -> Tracker:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()

    def step(self, progress: float, values: Mapping[str, float]) -> None:
        """After an optimizer step: `step`, `loss`, `lr`, `tokens_per_second`, ..."""
        loss = values["loss"]
        self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        told = f"step {int(values['step'])}  loss {self._smooth:.3f}  {values['tokens_per_second']:,.0f} tokens/s"
        self._bar.update(self._task, completed=progress, told=told)
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
        self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._board_folder))
        for name, value in values.items():
            if name != "step":
                self._board.add_scalar(f"{kind}/{name}", value, int(values["step"]))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; a last one that a kill cut short is left out."""
    path = folder / "metrics.jsonl"
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
