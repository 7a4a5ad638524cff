"""`python -m benchmarks.compiled [presets]`: whether `torch.compile` pays in the one loop, on CPU or CUDA.

Each layer of the stack is compiled with fixed shapes: all texts are equally long, which is the best case for it, since
of others every batch has shapes of its own. Steps with and without it alternate in one process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import description
from benchmarks.race import spread, table
from benchmarks.subject import Subject, subject
from patchword.nn.transformer import Transformer
from patchword.training.tracking import Tracker

_STEPS = 2


def main() -> None:
    """Measure presets and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__)
    parser.add_argument("presets", nargs="*", default=["bert-mini", "vit-tiny-16"])
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    rows = []
    for name in given.presets:
        with tempfile.TemporaryDirectory(prefix="patchword-compiled-") as folder, Tracker(None, quiet=True) as tracker:
            how = {"device": given.device, "precision": given.precision}
            one = subject(name, Path(folder), batch_tokens=given.batch_tokens, **how)
            rows.append([name, *_measured(one, given.rounds, tracker)])
    print("\n".join(description()) + "\n")
    print(table(["", "as it is, tokens/s", "compiled", "compiled / as it is", "first step with it"], rows))


def _measured(one: Subject, rounds: int, tracker: Tracker) -> Sequence[str]:
    """Speeds without and with it, their ratio, and what the first step took."""
    layers = [layer for part in one.state.model.modules() if isinstance(part, Transformer) for layer in part.layers]
    compiled = [torch.compile(layer.forward, dynamic=False) for layer in layers]

    def speed(steps: int, with_it: bool) -> float:
        for layer, forward in zip(layers, compiled, strict=True):
            vars(layer)["forward"] = forward
            if not with_it:
                del layer.forward
        tokens, began = one.state.tokens, time.perf_counter()
        one.learn(steps, tracker)
        return (one.state.tokens - tokens) / (time.perf_counter() - began)

    speed(_STEPS, False)
    began = time.perf_counter()
    speed(1, True)
    first = time.perf_counter() - began
    speed(_STEPS, True)
    seen = [[speed(_STEPS, with_it) for with_it in (False, True)] for _ in range(rounds)]
    ratios = [after / before for before, after in seen]
    return [
        *(f"{statistics.median(of):,.0f}" for of in zip(*seen, strict=True)),
        spread(ratios, ".2f"),
        f"{first:.0f} s",
    ]


if __name__ == "__main__":
    main()
