"""Sequences of any length, end to end: padding never enters the core.

Shapes: N sequences of l_1 .. l_N tokens, T = l_1 + .. + l_N tokens in all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Made = TypeVar("Made")


class Layout:
    """Where each sequence of a packed batch starts and ends.

    It is made on the host, where the lengths are known without asking the device, so that nothing that reads it
    waits for the device.

    Args:
        lengths: tokens of each sequence, each at least 1.
        device: where the tensors that go with it live.
        before: tokens of each sequence that were read earlier, and are in a cache; none where not given.
    """

    def __init__(
        self, lengths: Sequence[int], device: torch.device | str = "cpu", before: Sequence[int] | None = None
    ) -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError(f"a packed batch needs sequences of at least one token, got lengths {list(lengths)}")
        self._lengths, self._before = tuple(int(length) for length in lengths), tuple(before or ())
        self.device = torch.device(device)
        self._made: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        """Number of sequences, N."""
        return len(self.lengths)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence."""
        return self._lengths

    @cached_property
    def before(self) -> tuple[int, ...]:
        """Tokens of each sequence that were read earlier."""
        return self._before or (0,) * len(self)

    @cached_property
    def tokens(self) -> int:
        """Number of tokens, T."""
        return sum(self.lengths)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def reach(self) -> int:
        """The last position of all, plus one."""
        return max(before + length for before, length in zip(self.before, self.lengths, strict=True))

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """`[N + 1]` int32: sequence n is tokens `cu_seqlens[n] : cu_seqlens[n + 1]`."""
        return self._there([0, *accumulate(self.lengths)]).int()

    @cached_property
    def starts(self) -> Tensor:
        """`[N]`: the index of each sequence's first token."""
        return self.cu_seqlens[:-1].long()

    @cached_property
    def ends(self) -> Tensor:
        """`[N]`: the index of each sequence's last token."""
        return self.cu_seqlens[1:].long() - 1

    @cached_property
    def sequence_ids(self) -> Tensor:
        """`[T]`: which sequence a token belongs to."""
        counts = self._there(self.lengths)
        return torch.arange(len(self), device=self.device).repeat_interleave(counts, output_size=self.tokens)

    @cached_property
    def positions(self) -> Tensor:
        """`[T]`: each token's index within its own sequence."""
        first = self._there(self.before) - self.starts
        return torch.arange(self.tokens, device=self.device) + first[self.sequence_ids]

    def _there(self, numbers: Sequence[int]) -> Tensor:
        """Numbers on the device; a GPU takes them from pinned memory, so that the host does not wait for it."""
        here = torch.tensor(numbers, device="cpu")
        return (
            here.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else here.to(self.device)
        )

    def runs(self, keys: Layout) -> tuple[tuple[int, int, int], ...]:
        """Neighbours whose own length and whose keys' length are equal: (number of sequences, length, keys' length).

        Each run is a dense block without padding. A batch of images is one run. A loader that sorts a batch by length
        makes the runs long.

        Args:
            keys: where the tokens that are looked at stand; this layout itself in self-attention.
        """
        pairs = zip(self.lengths, keys.lengths, strict=True)
        return self.once((Layout.runs, keys), lambda: tuple((len(list(g)), *pair) for pair, g in groupby(pairs)))

    def mean(self, values: Tensor) -> Tensor:
        """`[T, width]` -> `[N, width]`: the mean of each sequence's tokens."""
        runs = self.runs(self)
        blocks = torch.split(values, [count * length for count, length, _ in runs])
        means = [block.view(*run[:2], -1).mean(1) for block, run in zip(blocks, runs, strict=True)]
        return means[0] if len(means) == 1 else torch.cat(means)

    def last_of(self, kept: Tensor) -> Tensor:
        """`[T]` bool -> `[N]`: the index of each sequence's last token that is kept; of its first where none is."""
        places = torch.where(kept, torch.arange(len(kept), device=kept.device), 0)
        return self.starts.scatter_reduce(0, self.sequence_ids, places, "amax")

    def counted(self, kept: Tensor) -> Tensor:
        """`[T]` bool -> `[T]`: how many tokens of its sequence are kept up to each one, itself included."""
        total = kept.cumsum(0)
        return total - (total - kept.long())[self.starts][self.sequence_ids]

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What depends on the layout alone, and every layer reads: made by the first that asks."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def filled(self, tokens: int) -> Layout:
        """The same with so many tokens more, in sequences behind the last that are no longer than the longest."""
        if not tokens:
            return self
        full, rest = divmod(tokens, self.longest)
        more = full * (self.longest,) + (rest,) * (rest > 0)
        return self.once((Layout.filled, tokens), lambda: Layout(self.lengths + more, self.device))

    def to(self, device: torch.device | str) -> Layout:
        """The same layout for tensors on another device."""
        return self if torch.device(device) == self.device else Layout(self.lengths, device, self.before)


class BlockLayout(Layout):
    """N sequences of one length, such as pictures: a dense block. N can be a symbol in a graph that is traced."""

    def __init__(self, count: int, length: int, device: torch.device | str = "cpu") -> None:
        super().__init__((length,), device)
        self.count = count

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence."""
        return self._lengths * self.count

    @property
    def longest(self) -> int:
        """Tokens of every sequence."""
        return self._lengths[0]

    @cached_property
    def starts(self) -> Tensor:
        """`[N]`: the index of each sequence's first token."""
        return torch.arange(self.count, device=self.device) * self.longest

    def last_of(self, kept: Tensor) -> Tensor:
        """`[N * L]` bool -> `[N]`, as of any layout."""
        places = torch.arange(self.longest, device=kept.device) * kept.view(self.count, self.longest)
        return torch.arange(self.count, device=kept.device) * self.longest + places.argmax(1)

    def counted(self, kept: Tensor) -> Tensor:
        """`[N * L]` bool -> `[N * L]`, as of any layout."""
        return kept.view(self.count, self.longest).cumsum(1).flatten()

    def filled(self, tokens: int) -> Layout:
        """It stays a block."""
        return self

    def runs(self, keys: Layout) -> tuple[tuple[int, int, int], ...]:
        """It is one run."""
        return ((self.count, self.longest, keys.longest),)


@dataclass(frozen=True)
class Packed:
    """A packed batch: `values` is `[T, ...]`, `layout` says which rows belong together.

    `segments` `[T]` says of which kind each token is where a sequence is two texts; all are of kind 0 where None.
    `ids` `[T]` are the token ids from which `values` were computed, where a head asks for them.
    """

    values: Tensor
    layout: Layout
    segments: Tensor | None = field(default=None, kw_only=True)
    ids: Tensor | None = field(default=None, kw_only=True)

    @classmethod
    def from_sequences(cls, sequences: Sequence[Tensor]) -> Packed:
        """Lay tensors of shape `[l_n, ...]` end to end."""
        return cls(torch.cat(list(sequences)), Layout([len(s) for s in sequences], sequences[0].device))

    @classmethod
    def from_block(cls, block: Tensor) -> Packed:
        """N sequences of one length, `[N, L, ...]`, end to end."""
        return cls(block.flatten(0, 1), BlockLayout(block.shape[0], block.shape[1], block.device))

    def sequences(self) -> tuple[Tensor, ...]:
        """The sequences again, each `[l_n, ...]`."""
        return torch.split(self.values, list(self.layout.lengths))

    def part(self, first: int, last: int) -> Packed:
        """Sequences `first` to `last` - 1."""
        lengths, before = self.layout.lengths, self.layout.before
        start, stop = sum(lengths[:first]), sum(lengths[:last])
        layout = Layout(lengths[first:last], self.layout.device, before[first:last])
        segments = None if self.segments is None else self.segments[start:stop]
        return Packed(self.values[start:stop], layout, segments=segments)

    def filled(self, tokens: int) -> Packed:
        """The same with so many tokens of zeros behind it, as `Layout.filled` cuts them; a block stays as it is."""
        layout = self.layout.filled(tokens)
        return self if layout is self.layout else Packed(F.pad(self.values, (0, 0, 0, tokens)), layout)

    def first(self) -> Tensor:
        """`[N, ...]`: the first token of each sequence (the class token, where there is one)."""
        return self.values[self.layout.starts]

    def last(self) -> Tensor:
        """`[N, ...]`: the last token of each sequence."""
        return self.values[self.layout.ends]

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Packed:
        """The same batch on another device; copies from pinned memory do not wait."""
        segments = None if self.segments is None else self.segments.to(device, non_blocking=non_blocking)
        return Packed(self.values.to(device, non_blocking=non_blocking), self.layout.to(device), segments=segments)

    def pin_memory(self) -> Packed:
        """The same batch in memory that a CUDA device reads while the host goes on."""
        segments = None if self.segments is None else self.segments.pin_memory()
        return Packed(self.values.pin_memory(), self.layout, segments=segments)
