"""Windows hold every id of a text, overlap, and are as few as can be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.tasks.windows import even_starts, window_counts, windows


@given(st.integers(0, 400), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_windows_hold_every_id(length: int, room: int, stride: int, even: bool) -> None:
    stride = min(stride, room)
    parts = windows(length, room, stride, even)
    assert {place for part in parts for place in range(*part)} == set(range(length))
    assert parts[0][0] == 0
    assert parts[-1][1] == length
    assert all(end - begin <= room for begin, end in parts)
    # Rounding to whole ids moves an even window by less than one.
    assert all(0 < later[0] - earlier[0] <= stride for earlier, later in itertools.pairwise(parts))
    assert all(earlier[1] < length for earlier in parts[:-1])
    # One fewer would not do: so many steps would not reach the end.
    assert len(parts) == 1 or (len(parts) - 2) * stride + room < length


@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.integers(2, 50))
def test_all_texts_together_are_each_alone(lengths: list[int], room: int) -> None:
    stride = room - room // 4
    counts = window_counts(np.array(lengths), room, stride)
    for length, count in zip(lengths, counts.tolist(), strict=True):
        numbers = np.arange(count)
        starts = even_starts(np.full(count, length), np.full(count, count), numbers, room)
        assert [(s, min(s + room, length)) for s in starts.tolist()] == windows(length, room, stride)


def test_even_windows_are_full_and_others_a_stride_apart() -> None:
    assert windows(100, 40, 30) == [(0, 40), (30, 70), (60, 100)]
    assert windows(95, 40, 30) == [(0, 40), (28, 68), (55, 95)]
    assert windows(95, 40, 30, even=False) == [(0, 40), (30, 70), (60, 95)]


@pytest.mark.parametrize("even", [True, False])
def test_a_short_text_is_one_window(even: bool) -> None:
    assert windows(0, 8, 4, even) == [(0, 0)]
    assert windows(8, 8, 4, even) == [(0, 8)]
