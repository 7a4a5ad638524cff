"""The layout of a packed batch against what its lengths say by themselves."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchword.nn.packing import Layout, Packed

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(lengths)
def test_every_token_is_where_its_sequence_says(lengths: list[int]) -> None:
    layout = Layout(lengths)
    expected = [(n, i) for n, length in enumerate(lengths) for i in range(length)]
    assert list(zip(layout.sequence_ids.tolist(), layout.positions.tolist(), strict=True)) == expected
    assert (len(layout), layout.tokens, layout.longest) == (len(lengths), len(expected), max(lengths))
    assert layout.starts.tolist() == [expected.index((n, 0)) for n in range(len(lengths))]


@given(lengths)
def test_cu_seqlens_are_the_bounds_that_variable_length_kernels_take(lengths: list[int]) -> None:
    bounds = Layout(lengths).cu_seqlens
    assert bounds.dtype == torch.int32
    assert bounds[0] == 0
    assert bounds.diff().tolist() == lengths


@given(lengths)
def test_runs_are_the_fewest_dense_blocks(lengths: list[int]) -> None:
    layout, keys = Layout(lengths), Layout(lengths[::-1])
    for runs, other in ((layout.runs(layout), lengths), (layout.runs(keys), lengths[::-1])):
        assert [length for count, length, _ in runs for _ in range(count)] == lengths
        assert [seen for count, _, seen in runs for _ in range(count)] == other
        assert all(left[1:] != right[1:] for left, right in pairwise(runs))


@given(lengths)
def test_tokens_that_go_on_stand_after_those_before(lengths: list[int]) -> None:
    before = [3 * n for n in range(len(lengths))]
    layout = Layout(lengths, before=before)
    expected = [b + i for b, length in zip(before, lengths, strict=True) for i in range(length)]
    assert layout.positions.tolist() == expected
    assert layout.reach == max(expected) + 1


def test_what_depends_on_the_layout_alone_is_made_once() -> None:
    layout, calls = Layout([2]), []
    assert [layout.once("a", lambda: len(calls) or calls.append(0)) for _ in range(3)] == [None] * 3
    assert layout.once("b", lambda: 5) == 5


@given(lengths)
def test_sequences_come_back_as_they_went_in(lengths: list[int]) -> None:
    sequences = [torch.randn(length, 3) for length in lengths]
    packed = Packed.from_sequences(sequences)
    assert packed.values.shape == (sum(lengths), 3)
    assert packed.layout.lengths == tuple(lengths)
    assert all(torch.equal(a, b) for a, b in zip(packed.sequences(), sequences, strict=True))
    assert torch.equal(packed.first(), torch.stack([sequence[0] for sequence in sequences]))
    assert torch.equal(packed.last(), torch.stack([sequence[-1] for sequence in sequences]))


@given(lengths, st.data())
def test_segments_are_cut_along_with_their_tokens(lengths: list[int], data: st.DataObject) -> None:
    tokens = torch.arange(sum(lengths))
    packed = Packed(tokens, Layout(lengths), segments=-tokens)
    first = data.draw(st.integers(0, len(lengths) - 1))
    part = packed.part(first, data.draw(st.integers(first + 1, len(lengths)))).to("cpu")
    assert part.segments is not None
    assert torch.equal(part.segments, -part.values)
    assert Packed(tokens, Layout(lengths)).part(first, first + 1).segments is None


@pytest.mark.parametrize("lengths", [[], [3, 0], [2, -1]])
def test_a_sequence_without_tokens_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Layout(lengths)


def test_a_layout_follows_its_batch_to_another_device() -> None:
    moved = Packed.from_sequences([torch.ones(2, 1), torch.ones(3, 1)]).to("meta")
    assert moved.values.device == moved.layout.cu_seqlens.device == torch.device("meta")
    assert moved.layout.lengths == (2, 3)
