"""Randomness without state: a function of (seed, epoch, position), never of what was drawn before.

So a run can go on at any step at once, and neither the order of the examples nor what is masked in them depends on
the number of workers.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def mix(*keys: np.ndarray | int) -> np.ndarray:
    """64 random-looking bits for each combination of keys, broadcast (SplitMix64, Steele et al. 2014)."""
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = (state ^ np.asarray(key).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def uniform(*keys: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1), one for each combination of keys."""
    return (mix(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Permutation:
    """A random order of `0 .. size - 1` that is computed where it is asked for and stored nowhere.

    A Feistel network is a bijection of 2k-bit numbers; results that fall outside are sent through again until they
    fall inside (Black and Rogaway 2002).

    Args:
        size: how many things are put in order.
        keys: another key, another order.
    """

    def __init__(self, size: int, *keys: int) -> None:
        self.size = size
        self.keys = keys
        self.half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
        self.mask = np.uint64((1 << int(self.half)) - 1)

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """What stands at those positions of the order, `[n]` -> `[n]` int64."""
        values = self._network(np.asarray(positions, np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._network(values[outside])
        return values.astype(np.int64)

    def _network(self, values: np.ndarray) -> np.ndarray:
        left, right = values >> self.half, values & self.mask
        for number in range(_ROUNDS):
            left, right = right, left ^ (mix(*self.keys, number, right) & self.mask)
        return (left << self.half) | right
