"""Which parameters are matrices inside of layers, and where several matrices are kept as one."""

from __future__ import annotations

from torch import Tensor, nn

from patchword.nn.attention import CrossAttention, SelfAttention
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.transformer import Transformer

Rows = tuple[int, ...]


def matrices(model: nn.Module) -> dict[Tensor, Rows]:
    """The matrices of a model's layers, wherever its stacks are; no tables, scores, convolutions or positions.

    Returns:
        For each parameter `[rows, columns]` (of experts `[E, rows, columns]`), how many of its rows each of the
        matrices has that it is made of: queries, keys and values are three that are multiplied at once.
    """
    found: dict[Tensor, Rows] = {}
    for stack in model.modules():
        if isinstance(stack, Transformer):
            for part in stack.layers.modules():
                if isinstance(part, nn.Linear):
                    found.setdefault(part.weight, (part.out_features,))
                found |= _joined(part)
    return found


def _joined(part: nn.Module) -> dict[Tensor, Rows]:
    """Parameters of a part itself in which there are several matrices."""
    match part:
        case SelfAttention():
            shared = part.kv_heads * part.head_width
            return {part.qkv.weight: (part.heads * part.head_width, shared, shared)}
        case CrossAttention():
            return {part.key_value.weight: 2 * (part.heads * part.head_width,)}
        case GatedFeedForward():
            return {part.up.weight: 2 * (part.down.in_features,)}
        case MixtureOfExperts():
            width, hidden = part.down.shape[1:]
            return {part.up: (hidden, hidden), part.down: (width,)}
    return {}
