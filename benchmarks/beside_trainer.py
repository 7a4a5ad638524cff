"""One model and one set of rows, learnt from by patchword and by transformers' Trainer, in turns: speed and memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from benchmarks.machine import processor
from benchmarks.race import Bench, Run, figure, memory, ratio, spread, table, why_not

OURS = ("patchword, auto precision", "patchword, fp32")
THEIRS = ("Trainer, default", "Trainer, tuned")
_PRODUCT = "matrix product"
_TRIAL_TIMEOUT = 90.0  # seconds that a tuned run may at least take; bf16 without units for it takes hours

Work = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Steps:
    """Optimizer steps of one run: so many not timed, then `least` or as many as begin within `seconds`."""

    warm_up: int
    least: int
    seconds: float


@dataclass(frozen=True)
class Shape:
    """One model to race over.

    Args:
        title: of its table.
        unit: "tokens" or "images".
        settings: of patchword's `stage`, `data` and `model` (or `start`) among them.
        peer: arguments of `run_transformers.run` that both its contenders have.
        tuned: those that the tuned one has besides.
        ours, default, fast: how many steps patchword, the default and the tuned Trainer make.
        flops: model FLOPs of learning from one of `unit`.
        image_tokens: what patchword counts of an image.
        stage: "pretrain" or "finetune".
        cold: whether a first start with nothing tokenised yet is measured as well.
        both: whether patchword runs in fp32, too, and not only in the precision that it chooses.
    """

    title: str
    unit: str
    settings: Mapping[str, Any]
    peer: Mapping[str, Any]
    tuned: Mapping[str, Any]
    ours: Steps
    default: Steps
    fast: Steps
    flops: float
    image_tokens: int = 1
    stage: str = "pretrain"
    cold: bool = False
    both: bool = True

    @property
    def speed(self) -> str:
        """The figure that is raced over."""
        return f"{self.unit}_per_second"


def race(bench: Bench, shape: Shape) -> None:
    """A table: what each reaches, and how many times as fast patchword is."""
    bench.report(f"### {shape.title}\n")

    def ours(precision: str) -> Work:
        return partial(_patchword, bench, shape, shape.ours, precision)

    def default() -> Mapping[str, Any]:
        return _trainer(bench, shape, shape.default, {"batch": 8})

    # Before the race: how long a first start takes that has to tokenise, and which precision suits the tuned run.
    first: dict[str, Run] = {}
    if shape.cold and not bench.quick:
        first[OURS[0]] = bench.measure("nothing tokenised yet  " + OURS[0], ours("auto"))
        first[THEIRS[0]] = bench.measure("nothing tokenised yet  " + THEIRS[0], default)
    precisions = {"bf16" if processor()[1] else "fp32": Run()} if bench.quick else _precisions(bench, shape)
    if shape.cold:
        first[THEIRS[1]] = precisions.get("fp32", Run())
    usable = [name for name, run in precisions.items() if run.failure is None]
    best = max(usable, key=lambda name: precisions[name].values.get(shape.speed, 0.0), default="fp32")

    contenders: dict[str, Work] = {OURS[0]: ours("auto"), OURS[1]: ours("fp32")}
    contenders[THEIRS[0]] = default
    contenders[THEIRS[1]] = lambda: _trainer(bench, shape, shape.fast, {**shape.tuned, "bf16": best == "bf16"})
    contenders[_PRODUCT] = partial(bench.child, "run_product")
    if not shape.both:
        del contenders[OURS[1]]
    runs = bench.alternate(contenders)
    product = runs.pop(_PRODUCT)

    need = 1 if bench.quick else 5
    rows = []
    for name, of in runs.items():
        used = " or ".join(sorted({run.values["precision"] for run in of if run.values})) or "no run"
        label = f"{name} ({used})" if name in (OURS[0], THEIRS[1]) else name
        against = [ratio(runs[o], of, shape.speed, need) if o in runs and name in THEIRS else "" for o in OURS]
        sooner = ratio(of, runs[OURS[0]], "first_step", need) if name in THEIRS else ""
        rows.append(
            [
                label,
                figure(of, shape.speed, need, ",.0f" if shape.unit == "tokens" else ",.1f"),
                _utilisation(of, product, shape, need),
                memory(of),
                figure(of, "first_step", need, ".1f", " s"),
                _cold(first.get(name)),
                *against,
                sooner,
            ]
        )
    header = [
        "",
        f"{shape.unit}/s",
        "of a matrix product",
        "peak memory",
        "first step",
        "first step, nothing tokenised yet",
        f"{OURS[0]}: times as fast",
        f"{OURS[1]}: times as fast",
        f"{OURS[0]}: times as soon at its first step",
    ]
    keep = [i for i in range(len(header)) if i < 5 or any(row[i] for row in rows)]
    bench.report(table([header[i] for i in keep], [[row[i] for i in keep] for row in rows]))
    if not bench.quick:
        found = ", ".join(f"{name} {_trial(run, shape.speed)}" for name, run in precisions.items())
        bench.report(f"The tuned run's precision, tried once beforehand: {found} {shape.unit}/s.\n")


def _utilisation(runs: Sequence[Run], product: Sequence[Run], shape: Shape, need: int) -> str:
    """Model FLOPs a second by those of a large matrix product in the same type and round."""
    pairs = [(run.values, peak.values) for run, peak in zip(runs, product, strict=False) if run.counts and peak.counts]
    shares = [values[shape.speed] * shape.flops / peaks[values["precision"]] for values, peaks in pairs]
    return spread(shares, ".0%") if len(shares) >= need else why_not([*runs, *product], short=True)


def _cold(run: Run | None) -> str:
    """Time to the first step of the run before the race."""
    if run is None or not run.values:
        return ""
    if not run.counts:
        return why_not([run], short=True)
    return f"{run.values['first_step']:.1f} s (one run)"


def _trial(run: Run, speed: str) -> str:
    return f"{run.values[speed]:,.4g}" if run.counts else why_not([run])


def _precisions(bench: Bench, shape: Shape) -> dict[str, Run]:
    """A run of the tuned Trainer in each precision; bf16 is given three times what fp32 took."""
    few = replace(shape.fast, least=2, seconds=0.0)
    runs = {}
    limit = 600.0
    for precision in ("fp32", "bf16"):
        began = bench.now()
        runs[precision] = bench.measure(
            f"{THEIRS[1]}, {precision} tried",
            partial(_trainer, bench, shape, few, {**shape.tuned, "bf16": precision == "bf16"}, limit),
        )
        limit = max(_TRIAL_TIMEOUT, 3 * (bench.now() - began))
    return runs


def _patchword(bench: Bench, shape: Shape, steps: Steps, precision: str) -> dict[str, Any]:
    settings = dict(shape.settings) | {
        "out": str(bench.folder / "run"),
        "overwrite": True,
        "precision": precision,
    }
    cache = str(bench.folder / "patchword-cache")
    argument = json.dumps({"stage": shape.stage, "settings": settings, **asdict(steps)})
    values = bench.child("run_patchword", argument, PATCHWORD_CACHE=cache)
    values[shape.speed] = values.pop("tokens_per_second") / shape.image_tokens
    return values


def _trainer(
    bench: Bench, shape: Shape, steps: Steps, more: Mapping[str, Any], timeout: float = 600.0
) -> dict[str, Any]:
    argument = json.dumps({**shape.peer, **more, **asdict(steps)})
    cache = str(bench.folder / "hf-home")
    return bench.child("run_transformers", argument, timeout=timeout, HF_HUB_OFFLINE="1", HF_HOME=cache)
