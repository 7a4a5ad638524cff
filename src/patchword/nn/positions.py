"""Ways to say where in its sequence a token stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.packing import Layout, Packed


class LearnedPositions(nn.Module):
    """One learned vector per position, added to the token's own (Devlin et al. 2018, figure 2).

    Args:
        length: the number of positions; a longer sequence is refused.
        width: numbers per token.
        unused: rows before the first position (RoBERTa and BART leave two free).
    """

    def __init__(self, length: int, width: int, unused: int = 0) -> None:
        super().__init__()
        self.length, self.unused = length, unused
        self.weight = nn.Parameter(torch.empty(unused + length, width))

    def of(self, tokens: Packed) -> Tensor:
        """The vectors to add to tokens, `[T, width]`."""
        added: Tensor = self(tokens.layout)
        return added

    def check(self, layout: Layout) -> None:
        """Is there a position for every token?

        Raises:
            ValueError: there is not.
        """
        if layout.reach > self.length:
            raise ValueError(f"a sequence of {layout.reach} tokens, but only {self.length} positions were learned")

    def forward(self, layout: Layout) -> Tensor:
        """The vectors to add, `[T, width]`."""
        self.check(layout)
        return F.embedding(layout.positions + self.unused, self.weight)


@dataclass(frozen=True)
class Scaling:
    """How a rotation learnt on short texts is slowed for long ones.

    Args:
        factor: how many times as long.
        original: tokens of the longest text that was learnt on; None slows all frequencies alike (Chen et al. 2023).
        low, high: with `original`, frequencies that turn less than `low` times over it are slowed by `factor`, those
            that turn over `high` times stay, those between are mixed (Llama 3.1).
    """

    factor: float
    original: int | None = None
    low: float = 1.0
    high: float = 4.0

    def slow(self, frequencies: Tensor) -> Tensor:
        """Frequencies in radians a token -> the same, slowed."""
        if self.original is None:
            return frequencies / self.factor
        turns = self.original * frequencies / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        return kept * frequencies + (1.0 - kept) * frequencies / self.factor


class Rotary(nn.Module):
    """Pairs of numbers of a head are turned by an angle that grows with the position (Su et al. 2021, equation 34).

    A product of a query and a key then depends on how far they are apart. Number i is paired with number i + D / 2, as
    in the published weights.

    Args:
        head_width: D, even.
        base: pair i turns by base^(-2 i / D) a token.
        scaling: slows the turning.
    """

    def __init__(self, head_width: int, base: float = 10000.0, scaling: Scaling | None = None) -> None:
        super().__init__()
        if head_width % 2:
            raise ValueError(f"heads of {head_width} numbers have no pairs to turn; their width must be even")
        self.head_width, self.base, self.scaling = head_width, base, scaling

    def angles(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """Cosine and sine for each token, `[T, 1, D / 2]`."""
        pairs = torch.arange(0, self.head_width, 2, dtype=torch.float32, device=layout.device)
        frequencies = 1.0 / self.base ** (pairs / self.head_width)
        if self.scaling is not None:
            frequencies = self.scaling.slow(frequencies)
        angles = (layout.positions[:, None].float() * frequencies)[:, None]
        return angles.cos(), angles.sin()

    def forward(self, heads: Tensor, layout: Layout) -> Tensor:
        """`[T, H, D]` -> the same, turned."""
        cos, sin = layout.once((self.head_width, self.base, self.scaling), lambda: self.angles(layout))
        one, other = heads.chunk(2, dim=-1)
        return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1).to(heads.dtype)


class GridSinCos(nn.Module):
    """Fixed vectors for the places of a grid, after one of zeros for the class token (He et al. 2022, appendix A.1).

    Half of the numbers tell the column, half the row, each by sines and cosines (Vaswani et al. 2017, section 3.5).

    Args:
        grid: rows and columns.
        width: numbers per token; a multiple of 4.
    """

    weight: Tensor

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"sines and cosines of rows and columns need a width that 4 divides, not {width}")
        frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
        rows, columns = (torch.arange(side, dtype=torch.float64)[:, None] * frequencies for side in grid)
        row, column = (torch.cat([angles.sin(), angles.cos()], 1) for angles in (rows, columns))
        places = torch.cat(
            [
                column[None].expand(grid[0], -1, -1),
                row[:, None].expand(-1, grid[1], -1),
            ],
            dim=-1,
        ).flatten(0, 1)
        self.register_buffer("weight", torch.cat([torch.zeros(1, width), places.float()]))


class RelativeBias(nn.Module):
    """A learned number per head for how far apart two tokens are (Raffel et al. 2020, section 2.1).

    Near distances have one each; far ones share theirs, in steps that grow like the logarithm, up to `furthest`.

    Args:
        heads: H.
        buckets: numbers per head.
        furthest: all distances from here on share one.
        both_ways: whether before and after are told apart; otherwise all that is after counts as distance 0.
    """

    def __init__(self, heads: int, *, buckets: int = 32, furthest: int = 128, both_ways: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, heads)
        self.buckets, self.furthest, self.both_ways = buckets, furthest, both_ways

    def bucket(self, offset: Tensor) -> Tensor:
        """Place of what is seen minus place of what looks -> index into the table."""
        buckets = self.buckets // 2 if self.both_ways else self.buckets
        after = (offset > 0).long() * buckets if self.both_ways else 0
        distance = offset.abs() if self.both_ways else (-offset).clamp(min=0)
        exact = buckets // 2
        growth = torch.log(distance.float().clamp(min=1) / exact) / math.log(self.furthest / exact)
        far = (exact + growth * (buckets - exact)).long().clamp(max=buckets - 1)
        return after + torch.where(distance < exact, distance, far)

    def forward(self, layout: Layout) -> Tensor:
        """`[H, L, L]` with L the longest sequence: row t is for token t."""
        length = layout.longest
        offsets = torch.arange(1 - length, length, device=layout.device)
        by_offset: Tensor = self.table(self.bucket(offsets)).t()
        return by_offset.unfold(1, length, 1).flip(1)  # row t begins at offset -t

    def rows(self, layout: Layout, seen: int) -> Tensor:
        """The rows of one new token of each sequence, which sees tokens 0 to `seen` - 1: `[N, H, seen]`."""
        offsets = torch.arange(seen, device=layout.device) - layout.positions[:, None]
        bias: Tensor = self.table(self.bucket(offsets))
        return bias.transpose(1, 2)


def resize_grid_positions(
    positions: Tensor, size: tuple[int, int], extra: int = 1, *, antialias: bool = False
) -> Tensor:
    """Positions learned on one grid of patches, for another: bicubic between neighbours (ViT, section 3.2).

    Args:
        positions: `[extra + rows * columns, width]` of a square grid, after `extra` tokens that are no patch.
        size: rows and columns that are wanted.
        extra: leading positions, kept as they are.
        antialias: whether a smaller grid is a mean over more neighbours (DINOv2).

    Returns:
        `[extra + size[0] * size[1], width]`.
    """
    side = math.isqrt(len(positions) - extra)
    if side * side != len(positions) - extra:
        raise ValueError(f"{len(positions) - extra} patch positions do not form a square")
    if size == (side, side):
        return positions
    grid = positions[extra:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid.float(), size=size, mode="bicubic", antialias=antialias).to(positions.dtype)
    return torch.cat([positions[:extra], resized.flatten(2).squeeze(0).t()])
