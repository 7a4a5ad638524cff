"""The order of the examples: a bijection that is computed, never stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.shuffle import Permutation, mix, uniform


def order(size: int, *keys: int) -> list[int]:
    return Permutation(size, *keys)[np.arange(size)].tolist()


@given(size=st.integers(1, 5000), seed=st.integers(0, 2**32), epoch=st.integers(0, 1000))
def test_every_number_stands_exactly_once_in_the_order(size: int, seed: int, epoch: int) -> None:
    assert sorted(order(size, seed, epoch)) == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 65535, 65536, 65537])
def test_sizes_next_to_powers_of_two(size: int) -> None:
    assert np.array_equal(np.sort(Permutation(size, 7)[np.arange(size)]), np.arange(size))


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32), data=st.data())
def test_a_part_of_the_order_is_that_part(size: int, seed: int, data: st.DataObject) -> None:
    """So a run goes on anywhere at once, whatever was asked for before."""
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start, size))
    assert Permutation(size, seed)[np.arange(start, stop)].tolist() == order(size, seed)[start:stop]


def test_positions_beyond_memory_cost_nothing() -> None:
    far = Permutation(10**12, 1)[np.arange(10**12 - 3, 10**12)]
    assert len(set(far.tolist())) == 3
    assert ((far >= 0) & (far < 10**12)).all()


def test_another_epoch_or_seed_is_another_order_and_the_same_one_the_same() -> None:
    orders = [order(200, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(one) for one in orders}) == 9
    assert order(200, 1, 2) == orders[5]


def test_an_order_looks_drawn_at_random() -> None:
    """What stands at a place is spread evenly over many epochs, and neighbours are strangers."""
    size, epochs = 16, 4000
    orders = np.array([Permutation(size, 0, epoch)[np.arange(size)] for epoch in range(epochs)])
    expected = epochs / size
    for place in (0, 7, 15):
        counts = np.bincount(orders[:, place], minlength=size)
        # Chi-squared with 15 degrees of freedom: above 60 once in 4 million.
        assert ((counts - expected) ** 2 / expected).sum() < 60
    neighbours = np.bincount((orders[:, 1] - orders[:, 0]) % size, minlength=size)
    assert neighbours[0] == 0
    assert ((neighbours[1:] - epochs / 15) ** 2 / (epochs / 15)).sum() < 60


def test_uniform_numbers_are_uniform_and_depend_on_every_key() -> None:
    numbers = uniform(3, 1, np.arange(100_000))
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    # 100 cells, 99 degrees of freedom: above 200 less than once in a million.
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 200
    for other in (uniform(4, 1, np.arange(100_000)), uniform(3, 2, np.arange(100_000))):
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.02


def test_bits_do_not_collide_for_neighbouring_keys() -> None:
    bits = mix(np.arange(300)[:, None], np.arange(300)[None])
    assert len(np.unique(bits)) == 90_000
