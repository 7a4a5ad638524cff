"""What one part costs for one sequence: products, and what autograd keeps of it until the backward pass.

Bytes are those of this implementation in fp32 on a CPU while it learns; there a dropout keeps four bytes a number for
its noise, where CUDA keeps one. Shapes: n tokens that go through a part, s that they look at, H heads, G heads of keys
and values, D numbers per head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from patchword.nn.attention import Attention, SelfAttention, Unmoved
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import FeedForward, GatedFeedForward

FP32 = 4
INDEX = 8
"""Bytes of a number, and of an index."""

_KEEP_THEIR_RESULT = (F.relu, F.tanh)


@dataclass(frozen=True)
class Cost:
    """Of one part, for one sequence.

    Args:
        part: what it is called in a table.
        products: FLOPs of products with weights, forward; a multiplication and an addition are two.
        attention: FLOPs of products of tokens with tokens, forward.
        kept: bytes that autograd keeps.
        matrices: those of them that are attention matrices.
        once: bytes that autograd keeps once, whatever the number of sequences.
    """

    part: str
    products: float = 0.0
    attention: float = 0.0
    kept: float = 0.0
    matrices: float = 0.0
    once: float = 0.0


def linear(part: str, layer: nn.Linear, n: float) -> Cost:
    """x W^T + b keeps x."""
    return Cost(part, products=2 * n * layer.in_features * layer.out_features, kept=FP32 * n * layer.in_features)


def norm(part: str, layer: nn.Module, n: float) -> Cost:
    """A norm over the last axis keeps what comes in and its statistics; RMSNorm what it has before the gain, too."""
    if isinstance(layer, nn.LayerNorm):
        return Cost(part, kept=FP32 * n * (layer.normalized_shape[0] + 2))
    assert isinstance(layer, nn.RMSNorm)
    return Cost(part, kept=FP32 * n * (2 * layer.normalized_shape[0] + 1))


def dropout(part: str, layer: nn.Dropout, n: float, width: int) -> Cost:
    """Its noise, where there is any."""
    return Cost(part, kept=FP32 * n * width if layer.p > 0 else 0)


def activation(part: str, function: object, n: float, width: int, then_kept: bool) -> Cost:
    """f(x) keeps x; or f(x), where its slope is told by that.

    Args:
        then_kept: whether the next part keeps f(x) anyway.
    """
    return Cost(part, kept=0 if function in _KEEP_THEIR_RESULT and then_kept else FP32 * n * width)


def between(part: str, layer: FeedForward, n: float) -> Cost:
    """What a feed-forward part keeps between its two products."""
    hidden = layer.down.in_features
    noise = dropout(part, layer.dropout, n, hidden).kept
    if isinstance(layer, GatedFeedForward):
        # Gate and values are one tensor; f(gate) is multiplied with the values.
        return Cost(part, kept=FP32 * n * 3 * hidden + noise)
    return Cost(part, kept=activation(part, layer.activation, n, hidden, then_kept=not noise).kept + noise)


def experts(part: str, layer: MixtureOfExperts, n: float) -> Cost:
    """The k experts of each token, and what says which they are; the router's product is not in it."""
    count, width, hidden = layer.down.shape
    k = layer.active
    # Each token is gathered k times; its k results are weighted and added up.
    numbers = k * (3 * width + 4 * hidden) + count + 1 + 2 * k
    return Cost(part, products=2 * n * k * 3 * width * hidden, kept=n * (FP32 * numbers + INDEX * 3 * k))


def fused(layer: Attention) -> bool:
    """Whether a CPU attends without keeping the matrix while it learns: no dropout on it, no bias that is learnt."""
    return layer.learning.dropout == 0 and getattr(layer, "relative", None) is None


def attend(part: str, layer: Attention, n: float, s: float) -> Cost:
    """softmax(q k^T) v; its result is kept by the projection that follows.

    All n x s products count, those behind a mask too: so do the counters of dense kernels. A kernel that leaves them
    out does about half of them where each token sees the earlier ones only.
    """
    shared = layer.kv_heads if isinstance(layer, SelfAttention) else layer.heads
    moved, normed = False, 0.0
    if isinstance(layer, SelfAttention):
        has_norm = not isinstance(layer.query_norm, nn.Identity)
        moved = has_norm or not isinstance(layer.positions, Unmoved)
        # Of a norm's input a view is kept: the product that it is a part of counts below.
        normed = n * (layer.heads + shared) * (layer.head_width + 1) if has_norm else 0.0
    queries, keys = n * layer.heads * layer.head_width, s * shared * layer.head_width
    matrices = 0.0
    if fused(layer):
        numbers = queries + 2 * keys + n * layer.heads + (queries + keys if moved else 0)
    else:
        # Scaled queries and keys and the values, for each head; the weights, and with dropout its noise and the rest.
        each = s * layer.heads * layer.head_width
        numbers = queries + 2 * each + (queries + 2 * keys if normed else 0)
        matrices = FP32 * layer.heads * n * s * (3 if layer.learning.dropout else 1)
    flops = 2 * 2 * layer.heads * layer.head_width * n * s
    return Cost(part, attention=flops, kept=FP32 * (numbers + normed) + matrices, matrices=matrices)
