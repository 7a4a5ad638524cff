"""From a set of examples to batches, in an order fixed by (seed, epoch, position)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from patchword.data.shuffle import Permutation
from patchword.nn.packing import Packed

_LOOK_AHEAD = 4096  # examples whose lengths are looked up at once
_ORDERED = 16 * _LOOK_AHEAD  # and whose order is: that of 32 costs a third of that of 4,096


@dataclass(frozen=True)
class Batch:
    """What one step of training reads.

    Args:
        inputs: what the trunk takes; a `Packed` holds `[T]`, a tensor `[N, ...]`.
        targets: one a label: `[N, ...]`, or `[n]` where `at` says at which tokens.
        lengths: tokens of each of the N examples, in all inputs together.
        at: `[n]` ascending indices of the targets among the tokens of the last input, or of the examples where that is
            no `Packed`; None where a target belongs to an example.
    """

    inputs: tuple[Packed | Tensor, ...]
    targets: Tensor
    lengths: tuple[int, ...]
    at: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Tokens, T."""
        return sum(self.lengths)

    @property
    def labels(self) -> int:
        """Number of targets: what a sum of losses is divided by."""
        return len(self.targets)

    def split(self, max_tokens: int) -> list[Batch]:
        """Micro-batches of at most so many tokens (or of one example), which together are this batch."""
        parts, first, size = [], 0, 0
        for n, length in enumerate(self.lengths):
            if n > first and size + length > max_tokens:
                parts.append(self._slice(first, n))
                first, size = n, 0
            size += length
        return [self] if first == 0 else [*parts, self._slice(first, len(self.lengths))]

    def _slice(self, first: int, last: int) -> Batch:
        def cut(values: Packed | Tensor) -> Packed | Tensor:
            return values.part(first, last) if isinstance(values, Packed) else values[first:last]

        inputs, lengths = tuple(cut(values) for values in self.inputs), self.lengths[first:last]
        if self.at is None:
            return Batch(inputs, self.targets[first:last], lengths)
        answered = self.inputs[-1]
        tokens = answered.layout.lengths if isinstance(answered, Packed) else self.lengths
        start, stop = (sum(tokens[:n]) for n in (first, last))
        inside = (self.at >= start) & (self.at < stop)
        return Batch(inputs, self.targets[inside], lengths, self.at[inside] - start)

    def to(self, device: torch.device) -> Batch:
        """On the device that computes; nothing is copied where it is there already."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            inputs=tuple(values.to(device, non_blocking=True) for values in self.inputs),
            targets=self.targets.to(device, non_blocking=True),
            at=None if self.at is None else self.at.to(device, non_blocking=True),
        )

    def pinned(self) -> Batch:
        """In memory that a CUDA device reads while the host goes on."""
        return replace(
            self,
            inputs=tuple(values.pin_memory() for values in self.inputs),
            targets=self.targets.pin_memory(),
            at=None if self.at is None else self.at.pin_memory(),
        )


class Examples(Protocol):
    """A set of examples that a task has prepared."""

    def __len__(self) -> int: ...

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens that each example will have in a batch, special tokens included, `[n]`."""

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Make a batch; what is random in it depends on `key` = (seed, epoch) and the ids alone."""

    def in_pieces(self, share: float) -> Examples:
        """The same examples under the same ids, none of them longer than that share of the longest.

        Texts without labels can be cut (`data/pieces.py`); all else stays as it is.
        """
        return self


@dataclass(frozen=True)
class Position:
    """Where in the data a run stands: `index` examples of this epoch's order have been read."""

    epoch: int = 0
    index: int = 0

    def state(self) -> dict[str, int]:
        """For a checkpoint."""
        return {"epoch": self.epoch, "index": self.index}


class Pace(NamedTuple):
    """How large a batch is, beside those that a run ends with.

    Args:
        batch: share of the tokens and examples of a batch.
        length: share of the length of the longest example.
    """

    batch: float = 1.0
    length: float = 1.0


class Loader:
    """Batches of a token budget, for ever.

    Args:
        examples: the set.
        seed: fixes every epoch's order.
        batch_tokens: a batch holds as many examples as fit in so many tokens, at least one. None of them is padded.
        batch_size: and at most so many examples.
        workers: threads that prepare batches ahead; the order does not depend on them. 0: prepared when asked for.
        pace: (number of a batch, where it starts) -> how large it is. A function of these two, so that a run that
            goes on makes the batches that it would have made.
        pinned: whether batches are to be in memory that a CUDA device reads by itself.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        seed: int,
        batch_tokens: int,
        batch_size: int | None = None,
        workers: int = 0,
        pace: Callable[[int, Position], Pace] = lambda number, position: Pace(),
        pinned: bool = False,
    ) -> None:
        self.examples = examples
        self.seed = seed
        self.batch_tokens = batch_tokens
        self.batch_size = batch_size or len(examples)
        self.workers = workers
        self.pace = pace
        self.pinned = pinned

    def plan(self, position: Position, number: int = 0) -> Iterator[tuple[Examples, np.ndarray, int, Position]]:
        """What each batch is made of: (examples, ids of some of them, their epoch, where the next batch starts).

        Args:
            position: where the first of these batches starts.
            number: of that batch.
        """
        size = len(self.examples)
        epoch, index = position.epoch, position.index
        while True:
            order = Permutation(size, self.seed, epoch)
            ordered, first = order[np.arange(0)], index
            while index < size:
                pace = self.pace(number, Position(epoch, index))
                examples = self.examples if pace.length == 1.0 else self.examples.in_pieces(pace.length)
                most = max(1, round(pace.batch * self.batch_size))
                stop = min(index + min(_LOOK_AHEAD, most), size)
                if stop > first + len(ordered):
                    ordered, first = order[np.arange(index, min(index + _ORDERED, size))], index
                ids = ordered[index - first : stop - first]
                running = np.cumsum(examples.lengths(ids))
                ids = ids[: max(1, int(np.searchsorted(running, pace.batch * self.batch_tokens, "right")))]
                index, number = index + len(ids), number + 1
                after = Position(epoch, index) if index < size else Position(epoch + 1, 0)
                yield examples, ids, epoch, after
            epoch, index = epoch + 1, 0

    def batches(self, position: Position, number: int = 0) -> Generator[tuple[Batch, Position], None, None]:
        """Batches from a position on, each with the position after it; `number` is that of the first."""
        plan = self.plan(position, number)
        if self.workers == 0:
            for examples, ids, epoch, after in plan:
                yield self._make(examples, ids, epoch), after
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: deque[tuple[Any, Position]] = deque()
            try:
                for examples, ids, epoch, after in plan:
                    ahead.append((pool.submit(self._make, examples, ids, epoch), after))
                    if len(ahead) > 2 * self.workers:
                        future, position = ahead.popleft()
                        yield future.result(), position
            finally:
                for future, _ in ahead:
                    future.cancel()

    def _make(self, examples: Examples, ids: np.ndarray, epoch: int) -> Batch:
        batch = examples.batch(ids, (self.seed, epoch))
        return batch.pinned() if self.pinned else batch


def in_order(
    examples: Examples, batch_tokens: int, ids: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every example once, for evaluation and prediction: (their ids, a batch), alike lengths together."""
    ids = np.arange(len(examples)) if ids is None else ids
    lengths = examples.lengths(ids)
    order = np.argsort(lengths, kind="stable")
    ids, lengths = ids[order], lengths[order]
    start = 0
    while start < len(ids):
        stop = start + max(
            1, int(np.searchsorted(np.cumsum(lengths[start : start + _LOOK_AHEAD]), batch_tokens, "right"))
        )
        yield ids[start:stop], examples.batch(ids[start:stop], (0, 0))
        start = stop


def by_length(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """An order that puts equal lengths side by side, so that attention finds long runs of them."""
    return np.argsort(np.asarray(lengths), kind="stable")
