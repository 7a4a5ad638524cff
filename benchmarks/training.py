"""Training speed, memory and time to the first step: patchword beside the Trainer of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import processor
from benchmarks.race import Bench, Run, figure, memory, ratio, table, why_not

MAX_LENGTH = 128
_OURS = ("patchword, auto precision", "patchword, fp32")
_THEIRS = ("Trainer, default", "Trainer, tuned")
_SIDE, _PATCH_TOKENS, _CLASSES = 224, 197, 4
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
        settings: of patchword's `pretrain`, `data` and `model` among them.
        peer: arguments of `run_transformers.run` that both its contenders have.
        tuned: those that the tuned one has besides.
        ours, default, fast: how many steps patchword, the default and the tuned Trainer make.
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
    cold: bool = False
    both: bool = True


def main(bench: Bench) -> None:
    """Race at three shapes; `--quick`: at two, for bert-base is bert-mini once more."""
    bench.report("## Training: patchword beside transformers' Trainer\n")
    limit = 3000 if bench.quick else 0
    read = bench.child("text", bench.folder, limit)
    bench.report(
        f"Text: {read['text']}, at most {MAX_LENGTH} tokens a sequence; vocabulary: {read['vocabulary']}, 30,522 word "
        "pieces. The same model on both sides (no dropout), AdamW, clipping at 1. Tokens are counted without padding, "
        "[CLS] and [SEP] with. Every run is a process of its own, in turns; figures are medians (least-most). "
        "*First step*: from the start of the process to the end of the first optimizer step, with what an earlier run "
        "has tokenised. *Default*: 8 rows a batch, lines padded to the longest of them, fp32 (as `run_mlm.py "
        "--line_by_line`). *Tuned*: full blocks of 128 and as large a batch as patchword's, the faster of fp32 and "
        "bf16, no columns dropped that the collator can use. Neither Trainer logs or saves; patchword writes its "
        "metrics and TensorBoard at every step. Pictures lie ready in memory: as floats for the Trainer, as bytes "
        "that are normalised batch by batch for patchword.\n"
    )
    _pictures(bench.folder / "images", 32 if bench.quick else 128)
    for shape in _shapes(bench):
        # Where auto is fp32, a second contender in fp32 would be the first one again.
        _race(bench, replace(shape, both=shape.both and not bench.quick and read["precision"] != "fp32"))


def _shapes(bench: Bench) -> list[Shape]:
    folder = bench.folder
    paths = {"corpus": str(folder / "corpus.txt"), "tokenizer": str(folder / "tokenizer"), "folder": str(folder)}
    text = {
        "data": paths["corpus"],
        "tokenizer": paths["tokenizer"],
        "lines": True,
        "max_length": MAX_LENGTH,
        "task": "masked-lm",
    }

    def bert(name: str, width: int, depth: int, tokens: int, ours: Steps, default: Steps, fast: Steps) -> Shape:
        config = {
            "vocab_size": 30522,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": width // 64,
            "intermediate_size": 4 * width,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        }
        return Shape(
            f"Masked language model, {name} ({depth} layers of {width}), {tokens:,} tokens a batch",
            "tokens",
            text | {"model": name, "batch_tokens": tokens, "dropout": 0.0, "attention_dropout": 0.0},
            {"kind": "mlm", "config": config, "max_length": MAX_LENGTH, **paths},
            {"grouped": True, "batch": tokens // MAX_LENGTH},
            ours,
            default,
            fast,
            cold=name == "bert-mini",
        )

    def vit(batch: int, ours: Steps, default: Steps, fast: Steps) -> Shape:
        config = {
            "hidden_size": 192,
            "num_hidden_layers": 12,
            "num_attention_heads": 3,
            "intermediate_size": 768,
            "image_size": _SIDE,
            "patch_size": 16,
            "num_labels": _CLASSES,
        }
        images = {"images": str(batch * 2), "side": str(_SIDE), "folder": str(folder)}
        return Shape(
            f"Image classification, vit-tiny-16 at {_SIDE} x {_SIDE} (12 layers of 192), {batch} images a batch",
            "images",
            {
                "data": str(folder / "images" / "train"),
                "validation": str(folder / "images" / "validation"),
                "model": "vit-tiny-16",
                "task": "image-classification",
                "image_size": _SIDE,
                "batch_size": batch,
                "dropout": 0.0,
                "attention_dropout": 0.0,
            },
            {"kind": "images", "config": config, **images},
            {"batch": batch},
            ours,
            default,
            fast,
            both=False,
        )

    if bench.quick:
        one = Steps(1, 1, 0.0)
        return [bert("bert-mini", 256, 4, 1024, one, one, one), vit(8, one, one, one)]
    few = Steps(1, 3, 5.0)
    return [
        bert("bert-mini", 256, 4, 8192, Steps(2, 3, 5.0), Steps(5, 3, 5.0), few),
        bert("bert-base", 768, 12, 1024, few, few, few),
        vit(32, few, Steps(2, 3, 5.0), few),
    ]


def _race(bench: Bench, shape: Shape) -> None:
    speed = f"{shape.unit}_per_second"
    bench.report(f"### {shape.title}\n")

    def ours(precision: str) -> Work:
        return partial(_patchword, bench, shape, shape.ours, precision)

    def default() -> Mapping[str, Any]:
        return _trainer(bench, shape, shape.default, {"batch": 8})

    # Before the race: how long a first start takes that has to tokenise, and which precision suits the tuned run.
    first: dict[str, Run] = {}
    if shape.cold and not bench.quick:
        first[_OURS[0]] = bench.measure("nothing tokenised yet  " + _OURS[0], ours("auto"))
        first[_THEIRS[0]] = bench.measure("nothing tokenised yet  " + _THEIRS[0], default)
    precisions = {"bf16" if processor()[1] else "fp32": Run()} if bench.quick else _precisions(bench, shape)
    if shape.cold:
        first[_THEIRS[1]] = precisions.get("fp32", Run())
    usable = [name for name, run in precisions.items() if run.failure is None]
    best = max(usable, key=lambda name: precisions[name].values.get(speed, 0.0), default="fp32")

    contenders: dict[str, Work] = {_OURS[0]: ours("auto"), _OURS[1]: ours("fp32")}
    contenders[_THEIRS[0]] = default
    contenders[_THEIRS[1]] = lambda: _trainer(bench, shape, shape.fast, {**shape.tuned, "bf16": best == "bf16"})
    if not shape.both:
        del contenders[_OURS[1]]
    runs = bench.alternate(contenders)

    need = 1 if bench.quick else 5
    rows = []
    for name, of in runs.items():
        used = " or ".join(sorted({run.values["precision"] for run in of if run.values})) or "no run"
        label = f"{name} ({used})" if name in (_OURS[0], _THEIRS[1]) else name
        against = [ratio(runs[o], of, speed, need) if o in runs and name in _THEIRS else "" for o in _OURS]
        rows.append(
            [
                label,
                figure(of, speed, need, ",.0f" if shape.unit == "tokens" else ",.1f"),
                memory(of),
                figure(of, "first_step", need, ".1f", " s"),
                _cold(first.get(name)),
                *against,
            ]
        )
    header = [
        "",
        f"{shape.unit}/s",
        "peak memory",
        "first step",
        "first step, nothing tokenised yet",
        f"{_OURS[0]}: times as fast",
        f"{_OURS[1]}: times as fast",
    ]
    keep = [i for i in range(len(header)) if i < 4 or any(row[i] for row in rows)]
    bench.report(table([header[i] for i in keep], [[row[i] for i in keep] for row in rows]))
    if not bench.quick:
        found = ", ".join(f"{name} {_trial(run, speed)}" for name, run in precisions.items())
        bench.report(f"The tuned run's precision, tried once beforehand: {found} {shape.unit}/s.\n")


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
            f"{_THEIRS[1]}, {precision} tried",
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
    argument = json.dumps({"settings": settings, **asdict(steps)})
    values = bench.child("run_patchword", argument, PATCHWORD_CACHE=cache)
    if shape.unit == "images":
        values["images_per_second"] = values.pop("tokens_per_second") / _PATCH_TOKENS
    return values


def _trainer(
    bench: Bench, shape: Shape, steps: Steps, more: Mapping[str, Any], timeout: float = 600.0
) -> dict[str, Any]:
    argument = json.dumps({**shape.peer, **more, **asdict(steps)})
    cache = str(bench.folder / "hf-home")
    return bench.child("run_transformers", argument, timeout=timeout, HF_HUB_OFFLINE="1", HF_HOME=cache)


def _pictures(folder: Path, count: int) -> None:
    """Noise as PNG files in folders of classes, to train and to validate on."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for part, number in (("train", count), ("validation", 2 * _CLASSES)):
        for i in range(number):
            place = folder / part / f"class-{i % _CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png", compress_level=0)
