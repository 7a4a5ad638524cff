"""The stack of layers, and how its weights begin."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions


class Transformer(nn.Module):
    """`depth` layers, one after the other.

    Args:
        depth: how many.
        block: makes one layer; called `depth` times.
        norm: makes the norm after the last layer; none where the layers end with one (post-norm).
    """

    def __init__(self, depth: int, block: Callable[[], nn.Module], norm: Callable[[], nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.layers = nn.ModuleList(block() for _ in range(depth))
        self.norm = norm()

    def forward(self, sequences: Packed) -> Packed:
        """`[T, width]` -> `[T, width]`, same layout."""
        hidden_states: Tensor = sequences.values
        for layer in self.layers:
            hidden_states = layer(hidden_states, sequences.layout)
        return Packed(self.norm(hidden_states), sequences.layout)


def initialise(module: nn.Module, std: float) -> None:
    """Random weights to begin with: matrices and tables from a normal cut at two deviations, biases 0, norms 1.

    Devlin et al. 2018 (their code) and Dosovitskiy et al. 2021 use std = 0.02.
    """
    for part in module.modules():
        match part:
            case nn.Linear() | nn.Conv2d():
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            case nn.Embedding() | LearnedPositions():
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            case nn.LayerNorm():
                part.reset_parameters()
