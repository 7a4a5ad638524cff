"""Texts in pieces: nothing is lost, nothing is twice, and a place in the data means what it meant."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.loader import Examples, Loader, Pace, Position
from patchword.data.pieces import Pieces
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.tasks.causal_lm import CausalExamples
from patchword.tasks.denoising import DenoisingExamples
from patchword.tasks.masked_lm import MaskedExamples

LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=20)


@given(lengths=LENGTHS, piece=st.integers(1, 60))
def test_the_parts_of_a_sequence_are_it(lengths: list[int], piece: int) -> None:
    """In order, none too long, none more than one longer than another."""
    sequences = Sequences.from_arrays([np.arange(n) + 100 * i for i, n in enumerate(lengths)])
    pieces = Pieces(sequences.tokens, sequences.ends, piece, max(1, -(-max(lengths) // piece)))
    ids = np.random.default_rng(0).permutation(len(lengths))
    numbers, counts = pieces.of(ids)
    assert len(set(numbers.tolist())) == len(numbers) == counts.sum()
    of_each = np.split(np.arange(len(numbers)), np.cumsum(counts)[:-1])
    for i, mine in zip(ids, of_each, strict=True):
        parts = pieces.gather(numbers[mine])
        assert np.concatenate(parts).tolist() == sequences.gather(np.array([i]))[0].tolist()
        sizes = [len(part) for part in parts]
        assert max(sizes) <= piece
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == max(1, -(-lengths[i] // piece))


@pytest.fixture(scope="module")
def sequences(corpus: list[str], tokenizer: Tokenizer) -> Sequences:
    return Sequences.from_arrays(tokenizer.encode(corpus[:150]))


@pytest.fixture(params=["masked", "causal", "denoising"])
def examples(request: pytest.FixtureRequest, sequences: Sequences, tokenizer: Tokenizer) -> Examples:
    match request.param:
        case "masked":
            return MaskedExamples(sequences, tokenizer)
        case "causal":
            return CausalExamples(sequences, tokenizer)
    return DenoisingExamples(sequences, tokenizer, 0)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_a_batch_in_pieces_has_shorter_sequences(share: float, examples: Examples, sequences: Sequences) -> None:
    """At most the share of the longest, in steps of 8 tokens, and as many tokens as was said."""
    longest = max(len(s) for s in sequences.gather(np.arange(len(sequences))))
    cut = examples.in_pieces(share)
    assert len(cut) == len(examples)
    ids = np.arange(7, 60)
    batch, whole = cut.batch(ids, (0, 0)), examples.batch(ids, (0, 0))
    assert max(batch.inputs[0].layout.lengths) <= 8 * np.ceil(share * longest / 8) + 2  # of what stands around
    assert len(batch.lengths) > len(whole.lengths)
    told = cut.lengths(ids).sum()
    if isinstance(examples, DenoisingExamples):  # which does not know before how many words one mask will stand for
        assert batch.tokens <= told + len(batch.lengths)
    else:
        assert batch.tokens == told


def test_as_they_are_where_nothing_is_longer(examples: Examples) -> None:
    assert examples.in_pieces(1.0) is examples
    assert examples.in_pieces(0.999) is examples  # the next 8 tokens


def test_words_and_masks_of_pieces(sequences: Sequences, tokenizer: Tokenizer) -> None:
    """The same words as in the whole, about the share of them hidden; another epoch hides others."""
    examples = MaskedExamples(sequences, tokenizer, share=0.3).in_pieces(0.25)
    ids = np.arange(100)
    batch = examples.batch(ids, (3, 0))
    words = batch.inputs[0].values.clone()
    words[batch.at] = batch.targets
    content = words[~torch.isin(words, torch.tensor([*tokenizer.before, *tokenizer.after]))]
    assert content.sort().values.tolist() == np.sort(np.concatenate(sequences.gather(ids))).tolist()
    assert 0.25 < batch.labels / len(content) < 0.36
    assert torch.equal(batch.inputs[0].values, examples.batch(ids, (3, 0)).inputs[0].values)
    assert not torch.equal(batch.inputs[0].values, examples.batch(ids, (3, 1)).inputs[0].values)


def growing(number: int, position: Position) -> Pace:
    """By both: batches by their number, texts by the place in the data."""
    return Pace(min(1.0, 0.2 + number / 20), min(1.0, 0.1 + position.epoch / 2 + position.index / 400))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_growing_batches_are_the_same_after_any_stop(workers: int, sequences: Sequences, tokenizer: Tokenizer) -> None:
    """With another number of workers, too."""
    examples = MaskedExamples(sequences, tokenizer)
    settings = {"seed": 4, "batch_tokens": 400, "pace": growing}
    whole = list(islice(Loader(examples, **settings).batches(Position()), 30))
    assert whole[-1][1].epoch >= 1
    for stop in (1, 5, 21):
        rest = islice(Loader(examples, **settings, workers=workers).batches(whole[stop - 1][1], stop), 30 - stop)
        for (one, after), (other, then) in zip(whole[stop:], rest, strict=True):
            assert after == then
            assert torch.equal(one.inputs[0].values, other.inputs[0].values)
            assert torch.equal(one.at, other.at)
            assert one.lengths == other.lengths


def test_batches_and_texts_grow_as_the_pace_says(sequences: Sequences, tokenizer: Tokenizer) -> None:
    examples = MaskedExamples(sequences, tokenizer)
    longest = max(examples.lengths(np.arange(len(examples))))
    position, lengths = Position(), []
    for number, (batch, after) in enumerate(Loader(examples, seed=0, batch_tokens=400, pace=growing).batches(position)):
        pace = growing(number, position)
        assert batch.tokens <= max(400 * pace.batch, longest + 16)
        assert max(batch.lengths) <= pace.length * longest + 10
        lengths.append(max(batch.lengths))
        position = after
        if position.epoch == 2:
            break
    assert lengths[0] < 0.4 * longest
    assert max(lengths) > 0.7 * longest


def test_an_epoch_of_growing_batches_has_every_example_once(sequences: Sequences, tokenizer: Tokenizer) -> None:
    loader = Loader(MaskedExamples(sequences, tokenizer), seed=0, batch_tokens=300, batch_size=9, pace=growing)
    seen: list[int] = []
    sizes: list[int] = []
    for _, ids, epoch, _ in loader.plan(Position()):
        if epoch:
            break
        seen, sizes = [*seen, *ids.tolist()], [*sizes, len(ids)]
    assert sorted(seen) == list(range(len(sequences)))
    assert max(sizes[:2]) <= 2 < max(sizes) <= 9
