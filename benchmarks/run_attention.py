"""The ways to attend, each checked and timed in turns, in a process of its own.

Dims: T tokens, N sequences, H heads, D numbers per head, L tokens of the longest sequence.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.race import hand_back
from patchword.nn.attention import Rule, attention_for
from patchword.nn.packing import Layout
from patchword.training.memory import keep_freed_memory

Way = Callable[[Tensor], Tensor]
"""query, key and value as `[T, 3, H, D]` -> `[T, H, D]`; also any choice of rows."""
_WIDTH = 64


def lengths(kind: str, tokens: int) -> list[int]:
    """Tokens of each sequence, so many in all, ascending."""
    generator, drawn, total = np.random.default_rng(0), list[int](), 0
    while total < tokens:
        length = int(np.clip(generator.lognormal(4.0, 0.7), 6, 256)) if kind == "mixed" else 128
        drawn.append(min(length, tokens - total))
        total += drawn[-1]
    return sorted(drawn)


def plain(qkv: Tensor, layout: Layout) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of one sequence after the other, as the equation says."""
    out = []
    for sequence in qkv.split(list(layout.lengths)):
        query, key, value = sequence.permute(1, 2, 0, 3)
        out.append(((query @ key.transpose(1, 2) / _WIDTH**0.5).softmax(-1) @ value).transpose(0, 1))
    return torch.cat(out)


def ours(layout: Layout) -> Way:
    """What a layer of patchword does on the device."""
    attend = attention_for(layout.device)

    def attend_packed(qkv: Tensor) -> Tensor:
        query, key, value = qkv.unbind(1)
        return attend(query, key, value, layout, layout, Rule(), None)

    return attend_packed


def padded(layout: Layout) -> Way:
    """All sequences padded to the longest, and a mask."""
    return _padded_to(layout, range(len(layout)))


def groups(layout: Layout) -> Way:
    """Groups of sequences of like length, each padded to its longest."""
    order = np.argsort(layout.lengths, kind="stable")
    parts: list[list[int]] = []
    for n in order.tolist():
        if not parts or layout.lengths[n] > 1.25 * layout.lengths[parts[-1][0]] + 8:
            parts.append([])
        parts[-1].append(n)
    ways = [_padded_to(layout, part) for part in parts]
    places = torch.cat([_places(layout, part) for part in parts])
    back = torch.empty_like(places)
    back[places] = torch.arange(len(places), device=layout.device)
    restore = _pick(back)
    return lambda qkv: restore(torch.cat([way(qkv) for way in ways]))


def _places(layout: Layout, part: Any) -> Tensor:
    """`[t]`: indices of the tokens of some sequences, one sequence after the other."""
    starts = np.cumsum([0, *layout.lengths])
    return torch.from_numpy(np.concatenate([starts[n] + np.arange(layout.lengths[n]) for n in part])).to(layout.device)


def _pick(places: Tensor) -> Way:
    """Those rows of a tensor; a view where they are neighbours."""
    first, count = int(places[0]), len(places)
    if torch.equal(places, torch.arange(first, first + count, device=places.device)):
        return lambda values: values.narrow(0, first, count)
    return lambda values: values[places]


def _padded_to(layout: Layout, part: Any) -> Way:
    """Attention of some sequences, padded to their longest: `[T, 3, H, D]` -> `[t, H, D]`."""
    sizes = torch.tensor([layout.lengths[n] for n in part], device=layout.device)
    longest = int(sizes.max())
    real = torch.arange(longest, device=layout.device) < sizes[:, None]
    rows = torch.nonzero(real.flatten()).flatten()
    pick, unpad = _pick(_places(layout, part)), _pick(rows)
    mask = None if bool(real.all()) else real[:, None, None, :].expand(-1, 1, longest, -1)

    def pad(values: Tensor) -> Tensor:
        if mask is None:
            return values
        return values.new_zeros(real.numel(), *values.shape[1:]).index_copy(0, rows, values)

    def attend(qkv: Tensor) -> Tensor:
        shape = (len(part), longest, *qkv.shape[1:])
        query, key, value = pad(pick(qkv)).view(shape).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return unpad(out.transpose(1, 2).reshape(real.numel(), *qkv.shape[2:]))

    return attend


def block_mask(layout: Layout) -> Way:
    """The pack as one long sequence, and a mask that keeps its parts apart."""
    mask = layout.sequence_ids[:, None] == layout.sequence_ids

    def attend(qkv: Tensor) -> Tensor:
        query, key, value = qkv.permute(1, 2, 0, 3).unsqueeze(1)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).squeeze(0).transpose(0, 1)

    return attend


def nested(layout: Layout) -> Way:
    """Torch's own kind of tensor for sequences of unequal length."""
    offsets = layout.cu_seqlens.long()

    def jagged(values: Tensor) -> Tensor:
        made: Tensor = torch.nested.nested_tensor_from_jagged(
            values.contiguous(), offsets, min_seqlen=min(layout.lengths), max_seqlen=layout.longest
        )
        return made.transpose(1, 2)

    def attend(qkv: Tensor) -> Tensor:
        query, key, value = (jagged(part) for part in qkv.unbind(1))
        out = F.scaled_dot_product_attention(query, key, value)
        values: Tensor = out.transpose(1, 2).values()
        return values

    return attend


def seconds(way: Way, qkv: Tensor, weight: Tensor) -> float:
    """Forwards and backwards, once."""
    qkv.grad = None
    if qkv.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    way(qkv).backward(weight)
    if qkv.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def check(way: Way, qkv: Tensor, weight: Tensor, right: Tensor, gradient: Tensor) -> None:
    """Same result and same gradient as plain attention; half precision is allowed what its rounding makes.

    Raises:
        ValueError: they are not.
    """
    allowed = 1e-5 if qkv.dtype == torch.float32 else 3e-2
    qkv.grad = None
    out = way(qkv)
    out.backward(weight)
    assert qkv.grad is not None
    for name, got, wanted in (("result", out, right), ("gradient", qkv.grad, gradient)):
        error = float((got.float() - wanted).abs().max())
        if not error <= allowed * max(1.0, float(wanted.abs().max())):
            raise ValueError(f"another {name} than plain attention, by {error:.1e}")


def run(device: str, heads: int, kind: str, tokens: int, repeats: int) -> dict[str, Any]:
    """Seconds of each way, repeat by repeat, and why the others have none."""
    keep_freed_memory()
    torch.manual_seed(0)
    layout = Layout(lengths(kind, tokens), device)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    qkv = torch.randn(tokens, 3, heads, _WIDTH, device=device, dtype=dtype, requires_grad=True)
    weight = torch.randn(tokens, heads, _WIDTH, device=device, dtype=dtype)
    exact = qkv.detach().float().requires_grad_()
    right = plain(exact, layout)
    right.backward(weight.float())
    assert exact.grad is not None

    makers = {"patchword": ours, "padded": padded, "block mask": block_mask, "nested": nested, "groups": groups}
    ways: dict[str, Way] = {}
    failures: dict[str, str] = {}
    for name, make in makers.items():
        try:
            way = make(layout)
            check(way, qkv, weight, right.detach(), exact.grad)
            ways[name] = way
        except (RuntimeError, ValueError) as error:  # no kernel for it here, or another result: its row says so
            failures[name] = str(error).splitlines()[0][:120]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            taken[name].append(seconds(way, qkv, weight))
    return {"seconds": taken, "failures": failures, "cuda": torch.cuda.is_available()}


if __name__ == "__main__":
    on, how_many, which, size, times = sys.argv[1:]
    hand_back(run(on, int(how_many), which, int(size), int(times)))
