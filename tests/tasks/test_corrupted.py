"""What is hidden and what is to be written: against the reference's own rules and the papers' numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer
from patchword.errors import UserError
from patchword.tasks.denoising import Denoising, DenoisingExamples, infill
from patchword.tasks.span_corruption import SpanCorruption, SpanExamples, spans
from patchword.tasks.task import Ask

SPAN_STYLE = TokenizerStyle("unigram", {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, after=("eos",), sentinels=20)
NOISE_STYLE = TokenizerStyle(
    "bpe",
    {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"},
    before=("bos",),
    after=("eos",),
)
START = 1


@pytest.fixture(scope="module")
def with_sentinels(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, SPAN_STYLE, 700)


@pytest.fixture(scope="module")
def with_mask(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, NOISE_STYLE, 400)


@pytest.fixture(scope="module")
def gaps(corpus: list[str], with_sentinels: Tokenizer) -> SpanExamples:
    return SpanExamples(Sequences.from_arrays(with_sentinels.encode(corpus[:300])), with_sentinels, START)


@pytest.fixture(scope="module")
def noise(corpus: list[str], with_mask: Tokenizer) -> DenoisingExamples:
    three = [" ".join(corpus[i : i + 3]) for i in range(300)]
    return DenoisingExamples(Sequences.from_arrays(with_mask.encode(three)), with_mask, START)


def reference_mask(length: int, random: np.random.Generator) -> np.ndarray:
    """T5's `random_spans_noise_mask` (text-to-text-transfer-transformer, data/preprocessors.py), in numpy."""
    noise = min(max(int(np.round(length * 0.15)), 1), length - 1)
    count = max(int(np.round(noise / 3.0)), 1)

    def segments(items: int, parts: int) -> np.ndarray:
        first = np.arange(items - 1) < parts - 1
        random.shuffle(first)
        ids = np.cumsum(np.pad(first, [[1, 0]]))
        return np.bincount(ids, minlength=parts)

    runs = np.stack([segments(length - noise, count), segments(noise, count)], axis=1).flatten()
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def test_hidden_runs_have_the_statistics_of_the_reference() -> None:
    """Share, number and lengths of runs, and how often each place is hidden, over 3,000 draws of 200 tokens."""
    random, other = np.random.default_rng(0), np.random.default_rng(1)
    ours = []
    for _ in range(3000):
        runs = spans(200, random)
        ours.append(np.repeat(np.arange(len(runs)) % 2 == 1, runs))
    theirs = [reference_mask(200, other) for _ in range(3000)]
    ours_hidden, theirs_hidden = np.array(ours), np.array(theirs)
    assert set(ours_hidden.sum(1)) == set(theirs_hidden.sum(1)) == {30}
    starts = [np.diff(m, axis=1, prepend=False) & m for m in (ours_hidden, theirs_hidden)]
    assert set(starts[0].sum(1)) == set(starts[1].sum(1)) == {10}
    # A place is hidden with p about 0.15: a difference of two shares has a deviation of sqrt(2 p (1 - p) / 3000).
    deviation = np.sqrt(2 * 0.15 * 0.85 / 3000)
    assert np.abs(ours_hidden.mean(0) - theirs_hidden.mean(0)).max() <= 5 * deviation
    for length in (1, 3, 6):
        share = [
            (np.diff(np.flatnonzero(np.diff(m, prepend=False, append=False).flatten()))[::2] == length).mean()
            for m in (ours_hidden, theirs_hidden)
        ]
        assert abs(share[0] - share[1]) <= 0.02


@given(length=st.integers(2, 500), seed=st.integers(0, 999), most=st.integers(1, 30))
def test_runs_are_a_cut_of_the_text(length: int, seed: int, most: int) -> None:
    runs = spans(length, np.random.default_rng(seed), most)
    assert runs.sum() == length
    assert (runs > 0).all()
    assert len(runs) <= 2 * most


def split_at(ids: list[int], sentinels: tuple[int, ...]) -> list[list[int]]:
    """What stands after each sentinel, in their order; before the first one comes first."""
    parts: list[list[int]] = [[]]
    for token in ids:
        if token in sentinels:
            assert sentinels.index(token) == len(parts) - 1  # in order, each once
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def test_the_text_can_be_put_together_again(gaps: SpanExamples, with_sentinels: Tokenizer) -> None:
    ids = np.arange(len(gaps))
    batch = gaps.batch(ids, (0, 0))
    sources, given = (packed.sequences() for packed in batch.inputs)
    end = with_sentinels.id("eos")
    originals = sorted(tuple(s.tolist()) for s in gaps.sequences.gather(ids))
    rebuilt, at = [], 0
    for source, shown in zip(sources, given, strict=True):
        target = batch.targets[at : at + len(shown)]
        at += len(shown)
        # The decoder is given the target one to the right, after the start token.
        assert shown.tolist() == [START, *target[:-1].tolist()]
        assert source[-1] == target[-1] == end
        kept = split_at(source[:-1].tolist(), with_sentinels.sentinels)
        hidden = split_at(target[:-1].tolist(), with_sentinels.sentinels)
        assert hidden[0] == []
        rebuilt.append(tuple(t for a, b in zip(kept, [*hidden[1:], []], strict=True) for t in (*a, *b)))
    assert sorted(rebuilt) == originals


def test_the_lengths_that_are_told_are_those_of_the_batch(gaps: SpanExamples) -> None:
    long = np.flatnonzero(gaps.sequences.lengths(np.arange(len(gaps))) >= 2)
    assert sorted(gaps.lengths(long)) == sorted(gaps.batch(long, (3, 1)).lengths)


def test_a_text_of_one_token_is_hidden_whole(with_sentinels: Tokenizer) -> None:
    examples = SpanExamples(Sequences.from_arrays([np.array([9], np.int32)]), with_sentinels, START)
    batch = examples.batch(np.array([0]), (0, 0))
    first, end = with_sentinels.sentinels[0], with_sentinels.id("eos")
    assert batch.inputs[0].values.tolist() == [first, end]
    assert batch.targets.tolist() == [first, 9, end]


@pytest.mark.parametrize("kind", ["gaps", "noise"])
def test_a_batch_depends_on_its_key_and_its_ids_alone(kind: str, request: pytest.FixtureRequest) -> None:
    examples = request.getfixturevalue(kind)
    ids = np.array([5, 9, 2, 7])
    one, again, epoch = (examples.batch(i, key) for i, key in ((ids, (1, 0)), (ids[::-1], (1, 0)), (ids, (1, 1))))
    assert torch.equal(one.inputs[0].values, again.inputs[0].values)
    assert torch.equal(one.targets, again.targets)
    assert not torch.equal(one.inputs[0].values, epoch.inputs[0].values)


def test_the_decoder_writes_the_text_as_it_was(noise: DenoisingExamples, with_mask: Tokenizer) -> None:
    ids = np.arange(len(noise))
    batch = noise.batch(ids, (0, 0))
    begin, end = with_mask.id("bos"), with_mask.id("eos")
    targets = [t.tolist() for t in batch.targets.split(list(batch.inputs[1].layout.lengths))]
    assert sorted(targets) == sorted([begin, *s.tolist(), end] for s in noise.sequences.gather(ids))
    for source in batch.inputs[0].sequences():
        assert source[0] == begin
        assert source[-1] == end


def test_thirty_percent_stand_behind_masks_of_poisson_length() -> None:
    """Lewis et al.: 30 %, runs of Poisson(3). A run's mean is 3 minus what the last one is shortened by."""
    random, mask = np.random.default_rng(0), 10**6
    ids = np.arange(1000)
    kept, masks = [], []
    for _ in range(400):
        source = infill(ids, mask, random)
        left = source[source != mask]
        assert (np.diff(left) > 0).all()  # the order stays
        kept.append(len(left))
        masks.append((source == mask).sum())
    assert set(kept) == {700}
    assert abs(300 / np.mean(masks) - 3.0) <= 0.1


def test_sentences_are_permuted_and_nothing_else(corpus: list[str], with_mask: Tokenizer) -> None:
    text = "one two. three four. five six. seven eight."
    ids = with_mask.encode([text])[0].astype(np.int64)
    examples = DenoisingExamples(Sequences.from_arrays([ids]), with_mask, START)
    examples.mask = -1
    orders = set()
    for seed in range(60):
        source, _ = examples.spoil(ids, np.random.default_rng(seed))
        orders.add(tuple(source[1:-1].tolist()))
    ends = {tuple(o[-1:]) for o in orders}
    assert len(orders) > 20
    assert len(ends) >= 1


def test_a_tokenizer_without_what_is_needed(tokenizer: Tokenizer, with_sentinels: Tokenizer) -> None:
    """Before the corpus is read: there is none."""
    with pytest.raises(UserError, match="sentinels"):
        SpanCorruption.prepare(Ask(data="nowhere"), tokenizer, lambda documents: None)
    with pytest.raises(UserError, match="mask token"):
        Denoising.prepare(Ask(data="nowhere"), with_sentinels, lambda documents: None)
