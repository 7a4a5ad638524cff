"""How peak memory and time grow as batch, length, width and corpus double.

Each point is a process of its own. An exponent of 1 is linear, of 2 quadratic; it is fitted over all points, and that
of the last doubling is given beside it, where what does not grow (weights, a first batch) weighs least.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.race import Bench, Run, table, why_not

_UNITS = {"memory": ("peak memory", "MB", 1e-6), "seconds": ("time", "s", 1.0)}
_PICTURE = "growth.png"


@dataclass(frozen=True)
class Axis:
    """What doubles.

    Args:
        name: what it is.
        sizes: from the smallest to the largest.
        settings: of `benchmarks.run_growth`'s function `kind`, for a size.
        kind: "step" or "corpus".
    """

    name: str
    sizes: tuple[int, ...]
    settings: Callable[[int], dict[str, Any]]
    kind: str = "step"


def main(bench: Bench) -> None:
    """Measure, report a table and draw a plot beside it."""
    bench.report("## Memory and time as sizes double\n")
    bench.report(
        f"One step of {_name(bench.quick)}, median of three after a first one (*corpus*: from a file to its first ten "
        "batches), each size in a process of its own. Memory is the peak over what Python and its libraries hold.\n"
    )
    measured = {axis.name: measure(bench, axis) for axis in axes(bench.quick)}
    rows = []
    for name, points in measured.items():
        good = {size: run.values for size, run in points.items() if run.counts}
        for what, (title, unit, scale) in _UNITS.items():
            sizes, values = np.array(list(good)), np.array([point[what] for point in good.values()])
            fitted, last = exponents(sizes, values)
            shown = ", ".join(
                f"{run.values[what] * scale:,.3g}" if run.counts else why_not([run], short=True)
                for run in points.values()
            )
            rows.append([name, ", ".join(f"{size:,}" for size in points), f"{title}, {unit}", shown, fitted, last])
    bench.report(table(["doubles", "sizes", "what", "values", "exponent", "of the last doubling"], rows))
    if bench.beside:
        draw(measured, bench.beside / _PICTURE)
        bench.report(f"![the same as a plot]({_PICTURE})\n")


def _name(quick: bool) -> str:
    return "bert-tiny" if quick else "bert-mini"


def axes(quick: bool) -> list[Axis]:
    """What doubles, and between which sizes."""
    steps = 1 if quick else 3
    common = {"name": _name(quick)}

    def step(sizes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return {"settings": common | {"sizes": sizes or {}, "rows": 512, **more}, "steps": steps}

    def width(numbers: int) -> dict[str, Any]:
        sizes = {"width": numbers, "heads": numbers // 64, "hidden": 4 * numbers}
        return step(sizes, batch_tokens=512 if quick else 2048)

    def length(tokens: int) -> dict[str, Any]:
        return step({"max_length": tokens}, batch_tokens=tokens, length=tokens, rows=8)

    def doubled(first: int, times: int) -> tuple[int, ...]:
        return tuple(first << number for number in range(2 if quick else times))

    return [
        Axis("batch, tokens in texts of 128", doubled(512 if quick else 1024, 5), lambda n: step(batch_tokens=n)),
        Axis("length of one text, tokens", doubled(512, 5), length),
        Axis("width", doubled(64 if quick else 128, 4), width),
        Axis("corpus, MB", doubled(1 if quick else 4, 4), lambda n: {"megabytes": n}, kind="corpus"),
    ]


def measure(bench: Bench, axis: Axis) -> dict[int, Run]:
    """Figures by size; after one that fails nothing larger is tried."""
    points: dict[int, Run] = {}
    for size in axis.sizes:
        cache = str(bench.folder / f"cache-{axis.kind}-{size}")
        work = partial(bench.child, "run_growth", axis.kind, json.dumps(axis.settings(size)), PATCHWORD_CACHE=cache)
        points[size] = bench.measure(f"{axis.name} {size:,}", work)
        if points[size].failure:
            break
    return points


def exponents(sizes: np.ndarray, values: np.ndarray) -> tuple[str, str]:
    """k of size^k, fitted over all and of the last two."""
    if len(sizes) < 2 or values.min() <= 0:
        return "-", "-"
    x, y = np.log2(sizes), np.log2(values)
    return f"{np.polyfit(x, y, 1)[0]:.2f}", f"{(y[-1] - y[-2]) / (x[-1] - x[-2]):.2f}"


def draw(measured: dict[str, dict[int, Run]], out: Path) -> None:
    """A column for what doubles, a row for memory and one for time, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(measured), 5.6), layout="constrained")
    grid = figure.subplots(len(_UNITS), len(measured), squeeze=False)
    for column, (name, points) in enumerate(measured.items()):
        for row, (what, (title, unit, scale)) in enumerate(_UNITS.items()):
            place = grid[row][column]
            good = {size: run.values[what] * scale for size, run in points.items() if run.counts}
            sizes, values = np.array(list(good)), np.array(list(good.values()))
            fitted, last = exponents(sizes, values)
            place.loglog(sizes, values, "o-", base=2)
            place.set_title(f"exponent {fitted} (last {last})", fontsize=9)
            place.set_xlabel(name)
            place.set_ylabel(f"{title}, {unit}")
            if good:
                place.set_ylim(2 ** np.floor(np.log2(values.min())), 2 ** np.ceil(np.log2(values.max())))
            for axis in (place.xaxis, place.yaxis):
                axis.set_major_formatter("{x:,g}")
            place.grid(True, which="both", alpha=0.3)
    figure.savefig(out, dpi=120)
