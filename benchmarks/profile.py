"""Where a training step goes: `python -m benchmarks.profile [preset]`, by part and by operation, on CPU or CUDA.

The steps are those of the one loop. What a forward operation belongs to is told by the module that ran it, and a
backward one belongs to what its forward one belongs to. On a device times are those of its kernels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.machine import description
from benchmarks.race import table
from benchmarks.subject import subject
from patchword.data.loader import Batch, Loader, Position
from patchword.explain.walk import part_of
from patchword.models.family import Model
from patchword.training import loop
from patchword.training.tracking import Tracker

_PART = "part: "
_ENGINE, _BACKWARD = "autograd::engine", 1
"""How the name of what computes a slope begins, and the scope of the event inside of it."""


def main() -> None:
    """Profile a preset and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("preset", nargs="?", default="bert-mini")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--length", type=int, default=128, help="tokens of every text (128)")
    parser.add_argument("--steps", type=int, default=3, help="steps that are looked at (3)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="patchword-profile-") as folder:
        one = subject(
            given.preset,
            Path(folder),
            length=given.length,
            batch_tokens=given.batch_tokens,
            device=given.device,
            precision=given.precision,
        )
        device = one.compute.device
        with Tracker(None, quiet=True) as tracker, _marked(one.state.model):
            one.learn(2, tracker)
            before = one.state.tokens
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
            peak = matmul_speed(device, one.compute.autocast)
            with profile(activities=activities) as profiler:
                began = time.perf_counter()
                one.learn(given.steps, tracker)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - began
            peak = max(peak, matmul_speed(device, one.compute.autocast))
    tokens = one.state.tokens - before
    speed = one.flops_per_token * tokens / seconds
    print("\n".join(description()), end="\n\n")
    print(
        f"{given.preset}, {given.steps} steps of {tokens // given.steps:,} tokens on {device.type}: model FLOPs are "
        f"{speed / peak:.0%} of what a large matrix product reaches here ({speed / 1e9:,.0f} of {peak / 1e9:,.0f} "
        "GFLOP/s), the profiler's own cost included.\n"
    )
    print(report(profiler.events(), seconds, device.type == "cuda"))


def matmul_speed(device: torch.device, autocast: Callable[[], Any], seconds: float = 0.5) -> float:
    """FLOP/s of the fastest of several large matrix products, in the type that the model computes in."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    with autocast():
        a, b = a.to(kind := (a @ b).dtype), b.to(kind)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def report(events: list[FunctionEvent], seconds: float, on_device: bool) -> str:
    """Two tables of shares of the time: by part, and by operation."""
    parts, operations, calls = Counter[str](), Counter[str](), Counter[str]()
    forward = {event.sequence_nr: event for event in events if event.sequence_nr >= 0 and not _is_backward(event)}
    for event in events:
        if event.device_type != DeviceType.CPU or event.name.startswith(("ProfilerStep", "cuda", "Memcpy")):
            continue
        own = (event.self_device_time_total if on_device else event.self_cpu_time_total) / 1e6
        part = _part(event, forward)
        parts[part] += own
        if event.name.startswith("aten::") or (on_device and own):
            operations[event.name] += own
            calls[event.name] += 1
    parts["not in any operation (Python, waiting)"] = max(seconds - sum(parts.values()), 0.0)
    rows = [[name, f"{value / seconds:.1%}"] for name, value in parts.most_common() if value / seconds >= 5e-4]
    most = [[name, f"{value / seconds:.1%}", f"{calls[name]:,}"] for name, value in operations.most_common(15)]
    return table(["part", "share"], rows) + "\n" + table(["operation", "share", "calls"], most)


def _part(event: FunctionEvent, forward: dict[int, FunctionEvent]) -> str:
    at: FunctionEvent | None = event
    while at is not None:
        if at.name.startswith(_PART):
            return at.name.removeprefix(_PART)
        if at.name.startswith("Optimizer.step"):
            return "optimizer"
        if _is_backward(at) and at.sequence_nr in forward:
            return _part(forward[at.sequence_nr], {})
        if _is_backward(at) and "AccumulateGrad" in at.name:
            return "adding up gradients"
        at = at.cpu_parent
    return "rest"


def _is_backward(event: FunctionEvent) -> bool:
    return event.scope == _BACKWARD or event.name.startswith(_ENGINE)


def _marked(model: Model) -> ExitStack:
    """While it is open, what parts of the model, clipping and the loader do is told to the profiler."""
    stack = ExitStack()
    for name, part in _parts(model):
        open_now: list[Any] = []

        def enter(module: nn.Module, inputs: Any, name: str = name, open_now: list[Any] = open_now) -> None:
            open_now.append(record_function(_PART + name).__enter__())

        def leave(module: nn.Module, inputs: Any, output: Any, open_now: list[Any] = open_now) -> None:
            open_now.pop().__exit__(None, None, None)

        stack.callback(part.register_forward_pre_hook(enter).remove)
        stack.callback(part.register_forward_hook(leave).remove)
    real_loss = getattr(model.head, "loss", None)
    if real_loss is not None:

        def loss(*arguments: Any) -> Tensor:
            with record_function(_PART + "head and loss"):
                result: Tensor = real_loss(*arguments)
                return result

        stack.enter_context(patch.object(model.head, "loss", loss))
    clip, batches = loop.clip_gradients, Loader.batches

    def clipped(*arguments: Any, **more: Any) -> Tensor:
        with record_function(_PART + "clipping"):
            return clip(*arguments, **more)

    def told(loader: Loader, position: Position, number: int = 0) -> Iterator[tuple[Batch, Position]]:
        stream = batches(loader, position, number)
        while True:
            with record_function(_PART + "waiting for data"):
                item = next(stream)
            yield item

    stack.enter_context(patch.object(loop, "clip_gradients", clipped))
    stack.enter_context(patch.object(Loader, "batches", told))
    return stack


def _parts(module: nn.Module, inside: str = "other") -> Iterator[tuple[str, nn.Module]]:
    """The largest modules that have a name of their own in a table, so that no mark lies in another."""
    for child in module.children():
        name = part_of(child, inside)
        if name == inside:
            yield from _parts(child, inside)
        else:
            yield "head and loss" if name == "head" else name, child


if __name__ == "__main__":
    main()
