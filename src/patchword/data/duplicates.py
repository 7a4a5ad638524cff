"""Texts that are the same, or nearly: groups by normalised text, and by MinHash over runs of words.

MinHash: Broder, On the resemblance and containment of documents (1997).
"""

from __future__ import annotations

import functools
import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = 5  # in a run; a shorter text is one run
SIMILAR = 0.8  # Jaccard similarity of the sets of runs, from which on two texts are near-duplicates
_BANDS, _ROWS = 25, 5  # a pair as similar as 0.8 is missed with a chance of (1 - 0.8^5)^25 = 5e-5
_PAIRS = 20_000  # compared at once, which bounds the memory

_SIGNS = frozenset("#%&@")

Ids = NDArray[np.int64]
_Hashes = NDArray[np.uint64]


@functools.cache
def _without_punctuation() -> dict[int, str]:
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "P")
    return {code: " " for code in codes if chr(code) not in _SIGNS}


def normalised(text: str) -> str:
    """Without regard to case, white space, punctuation and Unicode form; a text of nothing else stays as it is.

    Signs such as # and % stay where they stand at a letter or a digit: C# is not C.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = plain.translate(_without_punctuation()).split()
    if not _SIGNS.isdisjoint(plain):
        words = [word for word in words if not _SIGNS.issuperset(word)]
    return " ".join(words) or " ".join(plain.split())


def duplicate_groups(texts: Sequence[str], near: bool = True) -> Ids:
    """A group number for each text, (texts,): two texts with one number are duplicates, or linked by such.

    Groups are numbered in the order of their first text. Texts are duplicates where they are the same once
    normalised, and, with `near`, where their sets of runs of 5 words have a Jaccard similarity of 0.8 or more.
    The same texts always give the same groups. Where words are not parted by spaces, only the first kind is found.
    """
    first: dict[str, int] = {}
    same = np.array([first.setdefault(normalised(text), len(first)) for text in texts], dtype=np.int64)
    if not near or len(first) < 2:
        return same
    starts, runs = _runs(list(first))
    return linked(_similar(starts, runs), len(first))[same]


def linked(pairs: Iterable[Sequence[int]], count: int) -> Ids:
    """The numbers of groups, (count,), in the order of their first, where the two of each pair are in one."""
    parents = list(range(count))
    for a, b in pairs:
        low, high = sorted((_root(parents, a), _root(parents, b)))
        parents[high] = low
    roots = np.array([_root(parents, i) for i in range(count)], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _mixed(values: _Hashes) -> _Hashes:
    """The finalizer of SplitMix64: a bijection that spreads every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shared_runs(train: Sequence[str], other: Sequence[str], words: int) -> NDArray[np.float64]:
    """Of each text of `other`, the share of its different runs of so many words that stand in `train`, (other,).

    A text of fewer words has 0.
    """
    if not len(train) or not len(other):
        return np.zeros(len(other))
    plain = [normalised(text) for text in (*train, *other)]
    starts, runs = _runs(plain, words)
    known = np.zeros(int(runs.max()) + 1, bool)
    known[runs[: starts[len(train)]]] = True
    begins = starts[len(train) :]
    shares = np.add.reduceat(known[runs[begins[0] :]].astype(float), begins[:-1] - begins[0]) / np.diff(begins)
    long = np.array([len(text.split()) >= words for text in plain[len(train) :]])
    return np.where(long, shares, 0.0)


def same_inputs(inputs: Sequence[str | tuple[str, str] | Path | bytes]) -> Ids:
    """A group number for each input, (inputs,), by first appearance: texts once normalised, pictures by their bytes."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(_key(item), len(first)) for item in inputs], dtype=np.int64)


def _key(item: str | tuple[str, str] | Path | bytes) -> Any:
    if isinstance(item, tuple):
        return tuple(map(normalised, item))
    if isinstance(item, str):
        return normalised(item)
    return hashlib.blake2b(item if isinstance(item, bytes) else item.read_bytes(), digest_size=16).digest()


def _runs(texts: list[str], run_words: int = WORDS) -> tuple[Ids, Ids]:
    """The different runs of each text, as sorted numbers, and where each text's begin (with the end, texts + 1)."""
    number: dict[str, int] = {}
    words: list[NDArray[np.int32]] = []
    for text in texts:
        ids = [number.setdefault(word, len(number) + 1) for word in text.split()]
        words.append(np.array(ids + [0] * (run_words - len(ids)), dtype=np.int32))
    counts = np.array([len(ids) - run_words + 1 for ids in words])
    flat = np.concatenate(words).astype(np.uint64)
    begins = np.cumsum([0, *(len(ids) for ids in words[:-1])])
    at = np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    hashes = np.zeros(len(at), dtype=np.uint64)
    for offset in range(run_words):
        hashes = _mixed(hashes * np.uint64(31) + flat[at + offset] + np.uint64(1))
    different, run_of = np.unique(hashes, return_inverse=True)
    keys = np.unique(np.repeat(np.arange(len(texts)), counts) * len(different) + run_of)
    starts = np.searchsorted(keys, np.arange(len(texts) + 1) * len(different))
    return starts.astype(np.int64), keys % len(different)


def _similar(starts: Ids, runs: Ids) -> Iterator[tuple[int, int]]:
    """Pairs of texts that share a band of MinHashes and whose true similarity is 0.8 or more.

    In a band's bucket a text is compared with the bucket's first and the one before it, so that many texts
    from one template take time in proportion to their number.
    """
    seeds = _mixed(np.arange(1, _BANDS * _ROWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    values = _mixed(runs.astype(np.uint64) + np.uint64(1))
    for band in range(_BANDS):
        key = np.zeros(len(starts) - 1, dtype=np.uint64)
        for seed in seeds[band * _ROWS : (band + 1) * _ROWS]:
            key = _mixed(key * np.uint64(31) + np.minimum.reduceat(values * (seed | np.uint64(1)), starts[:-1]))
        order = np.argsort(key, kind="stable")
        new = np.r_[True, key[order][1:] != key[order][:-1]]
        heads = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
        later = np.flatnonzero(~new)
        pairs = np.stack([np.r_[heads[later], order[later - 1]], np.r_[order[later], order[later]]], 1)
        pairs = np.unique(pairs, axis=0)
        for begin in range(0, len(pairs), _PAIRS):
            some = pairs[begin : begin + _PAIRS]
            yield from map(tuple, some[_jaccard(some, starts, runs) >= SIMILAR].tolist())


def _jaccard(pairs: Ids, starts: Ids, runs: Ids) -> NDArray[np.float64]:
    size = np.diff(starts)
    most = int(runs.max()) + 1
    keys = []
    for side in (0, 1):
        count = size[pairs[:, side]]
        pair = np.repeat(np.arange(len(pairs)), count)
        at = np.repeat(starts[pairs[:, side]] - np.cumsum(count) + count, count) + np.arange(count.sum())
        keys.append(pair * most + runs[at])
    both = np.intersect1d(keys[0], keys[1], assume_unique=True) // most
    shared = np.bincount(both, minlength=len(pairs))
    return shared / (size[pairs[:, 0]] + size[pairs[:, 1]] - shared)
