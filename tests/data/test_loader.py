"""Batches: an order fixed by (seed, epoch, position) alone, a budget that is kept, nothing lost and nothing twice."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.loader import Batch, Examples, Loader, Position, by_length, in_order
from patchword.data.shuffle import Permutation
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.nn.packing import Layout, Packed
from patchword.tasks.masked_lm import MaskedExamples

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=60)


class Numbered(Examples):
    """Example i is `lengths[i]` tokens, all of them i; so is its target."""

    def __init__(self, lengths: list[int] | np.ndarray) -> None:
        self.sizes = np.asarray(lengths)

    def __len__(self) -> int:
        return len(self.sizes)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        return self.sizes[ids]

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        lengths = self.sizes[ids].tolist()
        tokens = torch.from_numpy(np.repeat(ids, lengths))
        return Batch((Packed(tokens, Layout(lengths)),), torch.from_numpy(ids.copy()), tuple(lengths))


START = Position()


def read(loader: Loader, count: int, position: Position = START) -> list[tuple[list[int], Position]]:
    """`count` batches as (the examples in them, the position after)."""
    stream = loader.batches(position)
    read = [(batch.targets.tolist(), after) for batch, after in islice(stream, count)]
    stream.close()
    return read


def an_epoch(loader: Loader, position: Position = START) -> list[tuple[list[int], Position]]:
    batches = []
    for batch, after in loader.batches(position):
        batches.append((batch.targets.tolist(), after))
        if after.index == 0:
            return batches
    raise AssertionError


@given(lengths=LENGTHS, budget=st.integers(1, 40), size=st.none() | st.integers(1, 9), seed=st.integers(0, 99))
def test_an_epoch_has_every_example_once_in_batches_that_keep_the_budget(lengths, budget, size, seed) -> None:
    loader = Loader(Numbered(lengths), seed=seed, batch_tokens=budget, batch_size=size)
    position = Position()
    for epoch in range(2):
        assert position == Position(epoch, 0)
        batches = an_epoch(loader, position)
        assert sorted(i for ids, _ in batches for i in ids) == list(range(len(lengths)))
        for ids, _ in batches:
            assert sum(lengths[i] for i in ids) <= budget or len(ids) == 1
            assert size is None or len(ids) <= size
        position = batches[-1][1]


@given(lengths=LENGTHS, budget=st.integers(12, 40), seed=st.integers(0, 99))
def test_a_batch_is_closed_only_when_the_next_example_does_not_fit(lengths, budget, seed) -> None:
    batches = an_epoch(Loader(Numbered(lengths), seed=seed, batch_tokens=budget))
    for (ids, _), (following, _) in pairwise(batches):
        assert sum(lengths[i] for i in [*ids, following[0]]) > budget


@given(lengths=LENGTHS, budget=st.integers(1, 40), data=st.data())
def test_any_saved_position_gives_the_same_rest(lengths, budget, data) -> None:
    loader = Loader(Numbered(lengths), seed=3, batch_tokens=budget)
    whole = read(loader, 2 * len(an_epoch(loader)) + 3)  # over two ends of an epoch
    stop = data.draw(st.integers(0, len(whole) - 1))
    saved = Position(**whole[stop][1].state())
    assert read(loader, len(whole) - stop - 1, saved) == whole[stop + 1 :]


def test_the_order_is_looked_up_for_many_batches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Counted(Permutation):
        def __getitem__(self, positions: np.ndarray) -> np.ndarray:
            asked.append(len(positions))
            return super().__getitem__(positions)

    loader = Loader(Numbered(np.random.default_rng(0).integers(1, 9, 200)), seed=5, batch_tokens=30)
    at_once = an_epoch(loader)
    monkeypatch.setattr("patchword.data.loader.Permutation", Counted)
    monkeypatch.setattr("patchword.data.loader._LOOK_AHEAD", 30)  # no more than that fit into a batch
    monkeypatch.setattr("patchword.data.loader._ORDERED", 60)
    assert an_epoch(loader) == at_once
    assert len([count for count in asked if count]) <= 200 / 30 + 1 < len(at_once)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_order_does_not_depend_on_workers(workers: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    alone, helped = (Loader(Numbered(lengths), seed=5, batch_tokens=256, workers=number) for number in (0, workers))
    assert read(helped, 150) == read(alone, 150)
    assert read(alone, 150)[-1][1].epoch >= 2
    # Another number of workers takes over in the middle.
    position = read(alone, 40)[-1][1]
    assert read(helped, 110, position) == read(alone, 150)[40:]


def test_masks_do_not_depend_on_workers(corpus: list[str], tokenizer: Tokenizer) -> None:
    examples = MaskedExamples(Sequences.from_arrays(tokenizer.encode(corpus[:200])), tokenizer)
    streams = [Loader(examples, seed=1, batch_tokens=300, workers=workers).batches(Position()) for workers in (0, 3)]
    for (one, _), (other, _) in islice(zip(*streams, strict=True), 40):
        assert torch.equal(one.inputs[0].values, other.inputs[0].values)
        assert torch.equal(one.at, other.at)
        assert torch.equal(one.targets, other.targets)
    for stream in streams:
        stream.close()


def test_another_epoch_and_another_seed_are_other_orders() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        return read(Loader(Numbered([1] * 100), seed=seed, batch_tokens=100), 1, Position(epoch))[0][0]

    assert len({tuple(first(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_while_a_batch_is_made_reaches_the_reader(workers: int) -> None:
    class Broken(Numbered):
        def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
            if 7 in ids:
                raise ValueError("example 7")
            return super().batch(ids, key)

    with pytest.raises(ValueError, match="example 7"):
        read(Loader(Broken([1] * 20), seed=0, batch_tokens=2, workers=workers), 10)


@pytest.mark.parametrize(("shortest", "longest"), [(3, 30), (5, 120), (1, 3)])
def test_packing_wastes_two_percent_at_most(shortest: int, longest: int) -> None:
    """Of a budget of 8,192 tokens, with documents as short as reviews and tweets."""
    lengths = np.random.default_rng(1).integers(shortest, longest + 1, 60_000)
    tokens = batches = 0
    for _, ids, _, after in Loader(Numbered(lengths), seed=0, batch_tokens=8192).plan(Position()):
        tokens, batches = tokens + lengths[ids].sum(), batches + 1
        if after.index == 0:
            break
    assert tokens == lengths.sum()
    # The last batch of an epoch holds what is left.
    assert 1 - tokens / (8192 * (batches - 1)) <= 0.02
    assert 1 - tokens / (8192 * batches) <= 0.02 + 1 / batches


@given(lengths=LENGTHS, budget=st.integers(1, 40))
def test_evaluation_reads_every_example_once_shortest_first(lengths, budget) -> None:
    seen: list[int] = []
    for ids, batch in in_order(Numbered(lengths), budget):
        assert batch.targets.tolist() == ids.tolist()
        assert batch.tokens <= budget or len(ids) == 1
        seen += ids.tolist()
    assert sorted(seen) == list(range(len(lengths)))
    assert [lengths[i] for i in seen] == sorted(lengths)


@given(lengths=LENGTHS)
def test_by_length_makes_the_fewest_runs(lengths) -> None:
    order = by_length(lengths)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    layout = Layout([lengths[i] for i in order])
    assert len(layout.runs(layout)) == len(set(lengths))


# ------------------------------------------------------------------------------------------------ a batch in parts


@given(lengths=LENGTHS, limit=st.integers(1, 50), per_token=st.booleans(), data=st.data())
def test_micro_batches_are_the_batch_exactly(lengths, limit, per_token, data) -> None:
    total = sum(lengths)
    tokens, pixels = torch.randn(total), torch.randn(len(lengths), 2, 3)
    if per_token:
        places = data.draw(st.sets(st.integers(0, total - 1), min_size=1))
        at = torch.tensor(sorted(places))
        targets = tokens[at]  # so that a place that moved would show
    else:
        at, targets = None, torch.arange(len(lengths))
    batch = Batch((pixels, Packed(tokens, Layout(lengths))), targets, tuple(lengths), at)
    parts = batch.split(limit)

    assert sum((part.lengths for part in parts), ()) == batch.lengths
    assert torch.equal(torch.cat([part.inputs[1].values for part in parts]), tokens)
    assert torch.equal(torch.cat([part.inputs[0] for part in parts]), pixels)
    assert torch.equal(torch.cat([part.targets for part in parts]), targets)
    assert (sum(p.tokens for p in parts), sum(p.labels for p in parts)) == (batch.tokens, batch.labels)
    for part in parts:
        assert part.inputs[1].layout.lengths == part.lengths
        assert part.tokens == len(part.inputs[1].values)
        assert part.tokens <= limit or len(part.lengths) == 1
        if per_token:
            assert torch.equal(part.inputs[1].values[part.at], part.targets)
    for one, following in pairwise(parts):
        assert one.tokens + following.lengths[0] > limit
