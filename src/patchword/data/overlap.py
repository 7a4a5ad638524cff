"""Held-out token sequences whose text is in the training data too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from patchword.data.store import Sequences

RUN = 32
"""Tokens in a row that two texts share only if one was copied from the other."""
SHORTEST = 8
"""Tokens of a sequence that is compared as a whole: shorter ones are equal by chance."""
_SAMPLED = 8
_AT_ONCE = 1 << 18  # tokens: what is computed of them stays in the processor's caches
_BASE = 0xD6E8FEB86659FD93  # any odd number of 64 bits


def overlapping(train: Sequences, held_out: Sequences) -> np.ndarray:
    """Which held-out sequences are training sequences as a whole, or share `RUN` tokens in a row with that text.

    Of runs one in 8 is compared, chosen by its content: equal ones are compared on both sides, wherever a text was cut
    into sequences.

    Returns:
        bool `[len(held_out)]`.
    """
    ends = held_out.ends.astype(np.int64)
    hashes, at = _runs(held_out.tokens, 0)
    sequence = np.searchsorted(ends, at, "right")
    inside = at + RUN <= ends[np.minimum(sequence, len(ends) - 1)]
    hashes, sequence = hashes[inside], sequence[inside]
    wanted, shared = _Wanted(hashes), []
    for first in range(0, len(train.tokens), _AT_ONCE):
        shared.append(wanted.among(_runs(train.tokens[first : first + _AT_ONCE + RUN - 1], first)[0]))
    found = np.zeros(len(held_out), bool)
    found[sequence[np.isin(hashes, np.concatenate([*shared, hashes[:0]]))]] = True
    ours = np.concatenate([*_digests(held_out), hashes[:0]])
    wanted, long = _Wanted(ours), held_out.lengths(np.arange(len(held_out))) >= SHORTEST
    for digests in _digests(train):
        found |= np.isin(ours, wanted.among(digests)) & long
    return found


class _Wanted:
    """Hashes that are looked for among many."""

    def __init__(self, hashes: np.ndarray) -> None:
        self.hashes = hashes
        self.table = np.zeros(1 << 20, bool)
        self.table[self._place(hashes)] = True

    def among(self, many: np.ndarray) -> np.ndarray:
        """Those of many that are wanted: a table of bits leaves few to be compared."""
        near = many[self.table[self._place(many)]]
        return near[np.isin(near, self.hashes)]

    @staticmethod
    def _place(hashes: np.ndarray) -> np.ndarray:
        return (hashes >> np.uint64(44)).astype(np.int64)


def _numbers(count: int) -> np.ndarray:
    """So many random odd numbers of 64 bits, the same every time."""
    return np.random.Generator(np.random.Philox(0)).integers(0, 1 << 64, count, np.uint64) | np.uint64(1)


def _runs(tokens: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the sampled runs of `RUN` tokens, and where they begin: polynomials of the tokens, modulo 2^64."""
    if len(tokens) < RUN:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes, length = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(_BASE), 1
    while length < RUN:  # a run of twice the length is two of them
        shifted = hashes[:-length] * np.uint64(pow(_BASE, length, 1 << 64))
        shifted += hashes[length:]
        hashes, length = shifted, 2 * length
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(_BASE)
    at = np.flatnonzero(hashes < np.uint64((1 << 64) // _SAMPLED))
    # The sampled ones have small numbers; spread them again.
    return hashes[at] * np.uint64(_SAMPLED), at + first


def _digests(sequences: Sequences) -> Iterator[np.ndarray]:
    """A hash of each sequence as a whole, some sequences at a time."""
    ends = sequences.ends.astype(np.int64)
    longest = int(np.diff(ends, prepend=0).max(initial=0))
    factors = _numbers(longest)
    first = 0
    while first < len(ends):
        begin = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, begin + _AT_ONCE, "right")), first + 1)
        lengths = np.diff(ends[first:last], prepend=begin)
        starts = np.cumsum(lengths) - lengths
        tokens = sequences.tokens[begin : begin + int(lengths.sum())].astype(np.uint64) + np.uint64(1)
        tokens *= factors[np.arange(len(tokens)) - np.repeat(starts, lengths)]
        digests = np.add.reduceat(tokens, starts)
        yield (digests ^ (digests >> np.uint64(29))) * np.uint64(_BASE)
        first = last
