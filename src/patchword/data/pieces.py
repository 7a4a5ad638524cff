"""Texts in shorter pieces than they are kept in, for a run that begins with short ones.

What is shuffled, counted and gone on with are the kept sequences: a position in the data means the same whatever
they are cut into.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patchword.data.loader import Batch, Examples
from patchword.data.store import Sequences

_ROUND = 8  # tokens: lengths of pieces grow in such steps, so that those of a batch are alike
_LOOK = 1 << 20  # sequences whose lengths are looked at together


class SequenceExamples(Examples):
    """Examples of which each is a sequence of token ids; what is random in a batch depends on their numbers."""

    sequences: Sequences

    def __len__(self) -> int:
        return len(self.sequences)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest sequence, without what stands around it."""
        some = (np.arange(i, min(i + _LOOK, len(self))) for i in range(0, len(self), _LOOK))
        return max((int(self.sequences.lengths(ids).max()) for ids in some), default=0)

    def in_pieces(self, share: float) -> Examples:
        """The same text under the same ids, in sequences of at most that share of the longest."""
        piece = _ROUND * math.ceil(share * self.longest / _ROUND)
        if piece >= self.longest:
            return self
        pieces = Pieces(self.sequences.tokens, self.sequences.ends, piece, math.ceil(self.longest / piece))
        examples = copy.copy(self)
        examples.sequences = pieces
        return _InPieces(examples, pieces)


@dataclass(frozen=True)
class Pieces(Sequences):
    """Sequences in equal parts of at most `piece` tokens: part k of sequence i has the number `i * most + k`."""

    piece: int
    most: int

    @property
    def kept(self) -> Sequences:
        """The sequences that are cut."""
        return Sequences(self.tokens, self.ends)

    def of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of all parts of sequences, one after the other, and how many each has, `[n]`."""
        counts = self._count(ids)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(ids, counts) * self.most + within, counts

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """Index of each part's first token, `[n]`."""
        return self._edges(ids, 0)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each part, `[n]`."""
        return self._edges(ids, 1) - self._edges(ids, 0)

    def _edges(self, ids: np.ndarray, after: int) -> np.ndarray:
        kept, part = np.divmod(ids, self.most)
        edges: np.ndarray = self.kept.starts(kept) + self.kept.lengths(kept) * (part + after) // self._count(kept)
        return edges

    def _count(self, ids: np.ndarray) -> np.ndarray:
        counts: np.ndarray = np.maximum(1, -(-self.kept.lengths(ids) // self.piece))
        return counts


class _InPieces(Examples):
    """The kept sequences, by their own numbers, each read as its parts."""

    def __init__(self, examples: SequenceExamples, pieces: Pieces) -> None:
        self.examples = examples
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of all parts of each, with what stands around every one."""
        numbers, counts = self.pieces.of(ids)
        lengths: np.ndarray = np.add.reduceat(self.examples.lengths(numbers), np.cumsum(counts) - counts)
        return lengths

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """All parts of them."""
        return self.examples.batch(self.pieces.of(ids)[0], key)
