"""Attention over packed sequences: each token sees its own sequence and nothing else.

Shapes: T tokens, H heads, D numbers per head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn

from patchword.nn.packing import Layout

Attend = Callable[[Tensor, Tensor, Tensor, Layout, bool, float], Tensor]
"""(query, key, value, layout, causal, dropout) -> output; all tensors `[T, H, D]`."""


def attend_by_runs(query: Tensor, key: Tensor, value: Tensor, layout: Layout, causal: bool, dropout: float) -> Tensor:
    """softmax(q k^T / sqrt(D)) v within each sequence, one dense call for every run of equal lengths.

    The fastest on a CPU of five ways that were raced (`benchmarks/attention.py`), and one that computes no padded
    product. Works on any device.
    """
    sizes = [count * length for count, length in layout.runs]
    outputs = []
    for (count, length), q, k, v in zip(
        layout.runs, torch.split(query, sizes), torch.split(key, sizes), torch.split(value, sizes), strict=True
    ):
        shape = (count, length, *q.shape[1:])
        out = F.scaled_dot_product_attention(
            q.view(shape).transpose(1, 2),
            k.view(shape).transpose(1, 2),
            v.view(shape).transpose(1, 2),
            is_causal=causal,
            dropout_p=dropout,
        )
        outputs.append(out.transpose(1, 2).reshape(q.shape))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, layout: Layout, causal: bool, dropout: float) -> Tensor:
    """The same in fp32 whatever comes in: a CPU's attention kernel takes six times as long backwards in bf16."""
    with torch.autocast("cpu", enabled=False):
        output = attend_by_runs(query.float(), key.float(), value.float(), layout, causal, dropout)
    return output.to(query.dtype)


def attend_variable_length(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, causal: bool, dropout: float
) -> Tensor:
    """The same on CUDA in one kernel: FlashAttention for variable lengths, in half precision.

    It has neither fp32 nor dropout on the attention weights; there the dense calls take over.
    """
    if dropout > 0.0 or query.dtype not in (torch.bfloat16, torch.float16):
        return attend_by_runs(query, key, value, layout, causal, dropout)
    ends = layout.cu_seqlens
    window = (-1, 0) if causal else (-1, -1)
    output = varlen_attn(query, key, value, ends, ends, layout.longest, layout.longest, window_size=window)
    assert isinstance(output, Tensor)
    return output


def attention_for(device: torch.device) -> Attend:
    """The fastest way to attend on a device; asked once, when a layer is built."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return attend_variable_length
    return attend_on_cpu if device.type == "cpu" else attend_by_runs


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2).

    softmax(q k^T / sqrt(D)) v, with q, k, v from one product x W^T, and an output projection.

    Args:
        width: numbers per token.
        heads: H; each has D = width / heads numbers.
        causal: a token sees itself and earlier tokens of its sequence only.
        bias: whether the projections add one.
        dropout: on the attention weights, while training.
    """

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} can not be shared equally among {heads} heads")
        self.heads = heads
        self.head_width = width // heads
        self.causal = causal
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.attend = attention_for(torch.get_default_device())

    def forward(self, hidden_states: Tensor, layout: Layout) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        qkv = self.qkv(hidden_states).view(-1, 3, self.heads, self.head_width)
        query, key, value = qkv.unbind(1)
        dropout = self.dropout if self.training else 0.0
        attended = self.attend(query, key, value, layout, self.causal, dropout)
        output: Tensor = self.out(attended.reshape(hidden_states.shape))
        return output
