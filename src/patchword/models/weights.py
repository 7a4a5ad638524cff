"""How a family's weights are called in Hugging Face files: tables, read in both directions.

`read` is given how to get a tensor of the file, the config that the file was written for, and the one that is built.

A table maps each of our parameter names to a rule. `{i}` in a name stands for the number of a layer. A plain string
is the rule "the same tensor under that name".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from patchword.nn.config import TransformerConfig
from patchword.nn.positions import resize_grid_positions

Get = Callable[[str], Tensor]


@dataclass(frozen=True)
class Same:
    """The same tensor under another name."""

    name: str

    def names(self) -> tuple[str, ...]:
        """The names in the file."""
        return (self.name,)

    def read(self, get: Get, was: TransformerConfig, now: TransformerConfig) -> Tensor:
        """Their tensor."""
        return get(self.name)

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensor under their names."""
        return {self.name: tensor}


@dataclass(frozen=True)
class Rows:
    """Several of their matrices (or biases) are one of ours, one below the other (query, key and value)."""

    parts: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """The names in the file."""
        return self.parts

    def read(self, get: Get, was: TransformerConfig, now: TransformerConfig) -> Tensor:
        """Their tensors as our one."""
        return torch.cat([get(name) for name in self.parts])

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our one as their tensors."""
        return dict(zip(self.parts, tensor.chunk(len(self.parts)), strict=True))


@dataclass(frozen=True)
class Batched:
    """They keep axes of length one in front (a batch of one) that we do without."""

    name: str
    axes: int

    def names(self) -> tuple[str, ...]:
        """The names in the file."""
        return (self.name,)

    def read(self, get: Get, was: TransformerConfig, now: TransformerConfig) -> Tensor:
        """Their tensor without the leading axes."""
        return get(self.name).flatten(0, self.axes)

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensor with the leading axes."""
        return {self.name: tensor[(None,) * self.axes]}


@dataclass(frozen=True)
class GridPositions:
    """Positions of a grid of patches, stored as a batch of one, resized where our grid is another.

    Args:
        name: in the file.
        grid: rows and columns of patches that a config has.
        extra: leading positions that belong to no patch.
    """

    name: str
    grid: Callable[[Any], tuple[int, int]]
    extra: int = 1

    def names(self) -> tuple[str, ...]:
        """The names in the file."""
        return (self.name,)

    def read(self, get: Get, was: TransformerConfig, now: TransformerConfig) -> Tensor:
        """Their positions, for our grid."""
        positions = get(self.name).squeeze(0)
        if self.grid(was) == self.grid(now):
            return positions
        return resize_grid_positions(positions, self.grid(now), self.extra)

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """Our positions as a batch of one."""
        return {self.name: tensor[None]}


Rule = Same | Rows | Batched | GridPositions
Names = Mapping[str, str | Rule]


def expand(names: Names, depth: int, ours: str, theirs: str) -> dict[str, Rule]:
    """The table with every layer written out, our names and theirs with a prefix each."""
    table: dict[str, Rule] = {}
    for name, rule in names.items():
        layers = range(depth) if "{i}" in name else (0,)
        for i in layers:
            table[ours + name.replace("{i}", str(i))] = _at(rule, i, theirs)
    return table


def _at(rule: str | Rule, layer: int, prefix: str) -> Rule:
    def full(name: str) -> str:
        # "/" at the front: a name that stands outside the trunk's own prefix.
        name = name[1:] if name.startswith("/") else prefix + name
        return name.replace("{i}", str(layer))

    match rule:
        case str():
            return Same(full(rule))
        case Rows(parts):
            return Rows(tuple(full(part) for part in parts))
        case Batched(name, axes):
            return Batched(full(name), axes)
        case GridPositions(name, grid, extra):
            return GridPositions(full(name), grid, extra)
        case Same(name):
            return Same(full(name))
