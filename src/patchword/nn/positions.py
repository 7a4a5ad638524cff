"""Ways to say where in its sequence a token stands."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.packing import Layout


class LearnedPositions(nn.Module):
    """One learned vector per position, added to the token's own (Devlin et al. 2018, figure 2).

    Args:
        length: the number of positions; a longer sequence is refused.
        width: numbers per token.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.weight = nn.Parameter(torch.empty(length, width))

    def forward(self, layout: Layout) -> Tensor:
        """The vectors to add, `[T, width]`."""
        if layout.longest > self.length:
            raise ValueError(f"a sequence of {layout.longest} tokens, but only {self.length} positions were learned")
        return F.embedding(layout.positions, self.weight)


def resize_grid_positions(positions: Tensor, size: tuple[int, int], extra: int = 1) -> Tensor:
    """Positions learned on one grid of patches, for another: bicubic between neighbours (ViT, section 3.2).

    Args:
        positions: `[extra + rows * columns, width]` of a square grid, after `extra` tokens that are no patch.
        size: rows and columns that are wanted.
        extra: leading positions, kept as they are.

    Returns:
        `[extra + size[0] * size[1], width]`.
    """
    side = math.isqrt(len(positions) - extra)
    if side * side != len(positions) - extra:
        raise ValueError(f"{len(positions) - extra} patch positions do not form a square")
    if size == (side, side):
        return positions
    grid = positions[extra:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid.float(), size=size, mode="bicubic", align_corners=False).to(positions.dtype)
    return torch.cat([positions[:extra], resized.flatten(2).squeeze(0).t()])
