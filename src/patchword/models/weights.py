"""How a family's weights are called in Hugging Face files: tables, read in both directions.

A table maps each of our parameter names to a rule. `{i}`, `{j}` in a name stand for numbers (of a layer, of a stage),
the same on both sides. A plain string is the rule "the same tensor under that name"; one that begins with "/" stands
outside the trunk's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from patchword.nn.positions import resize_grid_positions

Get = Callable[[str], Tensor]
Rename = Callable[[str], str]


class Rule(Protocol):
    """How one of our tensors stands in a file."""

    def names(self, config: Any) -> tuple[str, ...]:
        """The names in the file."""

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        """Theirs as our one.

        Args:
            get: a tensor of the file.
            was: the config that the file was written for.
            now: the one that is built.
        """

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        """Our one as theirs."""

    def renamed(self, rename: Rename) -> Rule:
        """The same for other names."""


Names = Mapping[str, "str | Rule"]


@dataclass(frozen=True)
class Same:
    """The same tensor under another name."""

    name: str

    def names(self, config: Any) -> tuple[str, ...]:
        return (self.name,)

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return get(self.name)

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return {self.name: tensor}

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, name=rename(self.name))


@dataclass(frozen=True)
class Transposed(Same):
    """They keep a matrix with its inputs as rows (GPT-2's Conv1D); a bias is the same."""

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return get(self.name).t()

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return {self.name: tensor.t()}


@dataclass(frozen=True)
class Batched(Same):
    """They keep axes of length one in front (a batch of one) that we do without."""

    axes: int = 1

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return get(self.name).flatten(0, self.axes)

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return {self.name: tensor[(None,) * self.axes]}


@dataclass(frozen=True)
class GridPositions(Same):
    """Positions of a grid of patches, stored as a batch of one, resized where our grid is another.

    Args:
        name: in the file.
        grid: rows and columns of patches that a config has; its `grid` where not given.
        extra: leading positions that belong to no patch.
        antialias: how they are resized (`resize_grid_positions`).
    """

    grid: Callable[[Any], tuple[int, int]] = lambda config: config.grid
    extra: int = 1
    antialias: bool = False

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        positions = get(self.name).squeeze(0)
        if self.grid(was) == self.grid(now):
            return positions
        return resize_grid_positions(positions, self.grid(now), self.extra, antialias=self.antialias)

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return {self.name: tensor[None]}


@dataclass(frozen=True)
class Rows:
    """Several of their matrices (or biases) are one of ours, one below the other (query, key and value).

    Args:
        parts: their names.
        sizes: rows of each by the config; equal where None.
    """

    parts: tuple[str, ...]
    sizes: Callable[[Any], tuple[int, ...]] | None = None

    def names(self, config: Any) -> tuple[str, ...]:
        return self.parts

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return torch.cat([get(name) for name in self.parts])

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        sizes = self.sizes(config) if self.sizes else (len(tensor) // len(self.parts),) * len(self.parts)
        return dict(zip(self.parts, torch.split(tensor, list(sizes)), strict=True))

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, parts=tuple(rename(part) for part in self.parts))


@dataclass(frozen=True)
class Stacked:
    """Matrices of their numbered experts are one tensor of ours `[experts, rows, columns]`.

    Args:
        parts: their names with `{e}` for the number; several stand one below the other in each expert.
        count: experts by the config.
    """

    parts: tuple[str, ...]
    count: Callable[[Any], int]

    def names(self, config: Any) -> tuple[str, ...]:
        return tuple(part.replace("{e}", str(e)) for e in range(self.count(config)) for part in self.parts)

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return torch.stack([Rows(names).read(get, was, now) for names in self._by_expert(was)])

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        written: dict[str, Tensor] = {}
        for names, expert in zip(self._by_expert(config), tensor, strict=True):
            written |= Rows(names).write(expert, config)
        return written

    def _by_expert(self, config: Any) -> list[tuple[str, ...]]:
        return [tuple(part.replace("{e}", str(e)) for part in self.parts) for e in range(self.count(config))]

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, parts=tuple(rename(part) for part in self.parts))


@dataclass(frozen=True)
class Chosen:
    """One rule or another, by the config.

    Args:
        condition: on the config.
        then: the rule where it is met.
        otherwise: the rule where it is not.
    """

    condition: Callable[[Any], bool]
    then: Rule
    otherwise: Rule

    def names(self, config: Any) -> tuple[str, ...]:
        return self._by(config).names(config)

    def read(self, get: Get, was: Any, now: Any) -> Tensor:
        return self._by(was).read(get, was, now)

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return self._by(config).write(tensor, config)

    def _by(self, config: Any) -> Rule:
        return self.then if self.condition(config) else self.otherwise

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, then=self.then.renamed(rename), otherwise=self.otherwise.renamed(rename))


@dataclass(frozen=True)
class Spare(Same):
    """The same tensor under another name; in a file that lacks it, another has the same numbers (tied there).

    Args:
        instead: the other one's name.
    """

    instead: str

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, name=rename(self.name), instead=rename(self.instead))


@dataclass(frozen=True)
class Twice(Same):
    """The same tensor under two names (the biases of BERT's word scores, which files have once where they are tied).

    Args:
        name: it is written under.
        again: read instead where a file has it; written as well where the config does not tie the scores.
    """

    again: str

    def write(self, tensor: Tensor, config: Any) -> dict[str, Tensor]:
        return {self.name: tensor} if config.tied else {self.name: tensor, self.again: tensor.clone()}

    def renamed(self, rename: Rename) -> Rule:
        return replace(self, name=rename(self.name), again=rename(self.again))


def rule_in(rule: Rule, names: Collection[str]) -> Rule:
    """The rule as a file with tensors of these names needs it."""
    if isinstance(rule, Twice) and rule.again in names:
        return Same(rule.again)
    return Same(rule.instead) if isinstance(rule, Spare) and rule.name not in names else rule


def heads_rows(config: Any) -> tuple[int, int, int]:
    """Rows of queries, keys and values (`Rows.sizes`)."""
    shared = (config.kv_heads or config.heads) * config.head_width
    return config.heads * config.head_width, shared, shared


def with_prefix(names: Names, ours: str, theirs: str) -> Names:
    """A table of the names of a part, as one of the names of the whole."""
    return {
        ours + name: theirs + rule if isinstance(rule, str) else rule.renamed(lambda part: theirs + part)
        for name, rule in names.items()
    }


def weights_and_biases(
    parts: Names, ours: str = "", theirs: str = "", kinds: tuple[str, ...] = ("weight", "bias")
) -> Names:
    """A table of names of layers -> one of the names of their weights and biases.

    Args:
        parts: our name of a layer -> the rule for all that it has.
        ours, theirs: what all names begin with.
        kinds: what each layer has.
    """

    def ending(kind: str) -> Names:
        return {
            f"{name}.{kind}": f"{rule}.{kind}" if isinstance(rule, str) else rule.renamed(lambda part: f"{part}.{kind}")
            for name, rule in parts.items()
        }

    return with_prefix({name: rule for kind in kinds for name, rule in ending(kind).items()}, ours, theirs)


def rule_for(names: Names, parameter: str, prefix: str) -> Rule:
    """The rule of one parameter, with its numbers put in, for a file in which the trunk has that prefix.

    Raises:
        KeyError: the table has none.
    """
    for ours, theirs in names.items():
        if found := _pattern(ours).fullmatch(parameter):
            numbers = found.groupdict()

            def full(name: str, numbers: dict[str, str] = numbers) -> str:
                name = name[1:] if name.startswith("/") else prefix + name
                for letter, number in numbers.items():
                    name = name.replace(f"{{{letter}}}", number)
                return name

            return Same(full(theirs)) if isinstance(theirs, str) else theirs.renamed(full)
    raise KeyError(parameter)


@cache
def _pattern(ours: str) -> re.Pattern[str]:
    """A name in which `{i}` stands for any number."""
    return re.compile(re.sub(r"\\\{([a-z])\\\}", r"(?P<\1>\\d+)", re.escape(ours)))
