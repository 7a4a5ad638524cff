"""Contenders one after the other, round after round, each in a fresh process and on a quiet machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import BUSY, Meter, others_now

_REPOSITORY = Path(__file__).resolve().parents[1]
_BEGAN, _RESULT = "BENCHMARK_BEGAN", "BENCHMARK_RESULT"
_ATTEMPTS = 3


class Failed(Exception):
    """A contender did not come to its end; the message says how.

    Args:
        final: whether another try would end the same way.
    """

    def __init__(self, message: str, final: bool = True) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True)
class Run:
    """One measurement: its figures, the share of the processors that others used, or why there are no figures."""

    values: Mapping[str, Any] = field(default_factory=dict)
    others: float = 0.0
    failure: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it may be reported."""
        return self.failure is None and self.others <= BUSY


@dataclass
class Bench:
    """What every benchmark is given.

    Args:
        folder: for temporary files; removed afterwards.
        quick: tiny sizes, to see that everything works.
        report: takes lines of Markdown, shows them and keeps them.
        beside: where a plot may be written, which lies beside the report; None: nowhere.
        patience: seconds that may still go into waiting for a quiet machine and repeating what was disturbed.
    """

    folder: Path
    quick: bool
    report: Callable[[str], None]
    beside: Path | None = None
    gigabytes: float = 1.0
    rounds: int = 5
    patience: float = 180.0
    began: float = field(default_factory=time.perf_counter)
    _looked: tuple[float, float] = (-10.0, 0.0)  # when, and what share others used then

    def part(self, name: str) -> Bench:
        """The same for one benchmark, with a folder and a patience of its own."""
        folder = self.folder / name
        folder.mkdir()
        return replace(self, folder=folder)

    def now(self) -> float:
        """Seconds since the benchmarks began."""
        return time.perf_counter() - self.began

    def tell(self, text: str) -> None:
        """Progress, for who is watching; not in the report."""
        print(f"  [{self.now():6.1f} s] {text}", file=sys.stderr, flush=True)

    def measure(self, name: str, work: Callable[[], Mapping[str, Any]], attempts: int = _ATTEMPTS) -> Run:
        """Do the work on a quiet machine: looked at before, during and after; again if it was disturbed."""
        run = Run()
        for attempt in range(attempts):
            before = self._quiet()
            meter, begin = Meter.read(), time.perf_counter()
            try:
                values = work()
            except Failed as error:
                self.tell(f"{name}: {error}")
                run = Run(failure=str(error))
                if error.final or attempt > 0:
                    break
                continue
            during = meter.others()
            run = Run(values, max(before, during, self._look()))
            shown = "  ".join(f"{k} {_short(v)}" for k, v in values.items() if isinstance(v, str | int | float))
            self.tell(f"{name}: {shown}  ({run.others:.0%} by other processes)")
            took = time.perf_counter() - begin
            if run.counts or self.quick or attempt + 1 == attempts or self.patience < took:
                break
            self.patience -= took
        return run

    def _look(self) -> float:
        busy = others_now()
        self._looked = time.perf_counter(), busy
        return busy

    def _quiet(self) -> float:
        """What others use before a measurement; the look after the last one serves, when that was just now."""
        when, busy = self._looked
        if time.perf_counter() - when > 1.0:
            busy = self._look()
        while busy > BUSY and self.patience > 0 and not self.quick:
            self.tell(f"waiting: other processes use {busy:.0%} of the processors")
            time.sleep(4.0)
            busy = self._look()
            self.patience -= 5.0
        return busy

    def alternate(
        self, contenders: Mapping[str, Callable[[], Mapping[str, Any]]], rounds: int | None = None
    ) -> dict[str, list[Run]]:
        """A B C A B C ...: a run of each contender in every round; one that failed is not tried again."""
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        rounds = rounds or self.rounds
        for number in range(rounds):
            for name, work in contenders.items():
                if any(run.failure for run in runs[name]):
                    continue
                runs[name].append(self.measure(f"round {number + 1}/{rounds}  {name}", work))
        return runs

    def child(self, module: str, *arguments: object, timeout: float = 600.0, **environment: str) -> dict[str, Any]:
        """What `python -m benchmarks.<module>` hands to `hand_back`, in a fresh process.

        Raises:
            Failed: it did not end well, or not in time.
        """
        with self.started(module, *arguments, **environment) as (process, result):
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise Failed(f"stopped after {timeout:.0f} s") from None
            if code or not result.is_file():
                raise Failed(_how_it_ended(code, result.with_suffix(".err")), final=code == -signal.SIGKILL)
            values: dict[str, Any] = json.loads(result.read_text())
            return values

    @contextlib.contextmanager
    def started(
        self, module: str, *arguments: object, **environment: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """The process of `child` while it runs, and where its result will be; it is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="run-") as folder:
            result = Path(folder) / "result.json"
            with open(result.with_suffix(".err"), "wb") as errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
                    cwd=_REPOSITORY,
                    env=os.environ | environment | {_RESULT: str(result), _BEGAN: repr(time.time())},
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                )
            try:
                yield process, result
            finally:
                process.kill()
                process.wait()


def _how_it_ended(code: int, errors: Path) -> str:
    if code == -signal.SIGKILL:
        return "killed; most likely it needed more memory than there is"
    last = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()][-12:]
    return f"exit code {code}: " + " | ".join(last)[-1500:]


def _short(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------------- in the child's process


def since_began() -> float:
    """Seconds since the parent started this process."""
    return time.time() - float(os.environ[_BEGAN])


def hand_back(values: Mapping[str, Any]) -> None:
    """Give figures to the parent."""
    Path(os.environ[_RESULT]).write_text(json.dumps(values))


# ------------------------------------------------------------------------------------------- what is written down


def spread(values: Sequence[float], form: str = ",.0f", unit: str = "") -> str:
    """Median and range: "12 (11-13)"."""
    middle = f"{format(statistics.median(values), form)}{unit}"
    if len(values) == 1:
        return f"{middle} (one run)"
    return f"{middle} ({format(min(values), form)}-{format(max(values), form)})"


def figure(runs: Sequence[Run], key: str, need: int, form: str = ",.0f", unit: str = "") -> str:
    """A figure over the runs that count, or why there is none."""
    good = [run.values[key] for run in runs if run.counts]
    return spread(good, form, unit) if len(good) >= need else why_not(runs, short=True)


def memory(runs: Sequence[Run]) -> str:
    """Peak memory over all runs, disturbed ones too: others do not change it."""
    held = [run.values["memory"] / 1e9 for run in runs if run.values]
    return spread(held, ".2f", " GB") if held else why_not(runs, short=True)


def ratio(ours: Sequence[Run], theirs: Sequence[Run], key: str, need: int) -> str:
    """Ours over theirs, round by round."""
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a.counts and b.counts]
    if len(pairs) < max(need, 1):
        return why_not([*ours, *theirs])
    return spread([a.values[key] / b.values[key] for a, b in pairs], ".2f", " x")


def why_not(runs: Sequence[Run], short: bool = False) -> str:
    """What stands in the place of a figure that can not be given."""
    failed = next((run.failure for run in runs if run.failure), None)
    if failed:
        return f"failed ({failed.split(':')[0]})"
    busy = max((run.others for run in runs), default=0.0)
    if busy <= BUSY:
        return "too few runs"
    return "machine busy" if short else f"machine busy ({busy:.0%} by other processes), not reported"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
