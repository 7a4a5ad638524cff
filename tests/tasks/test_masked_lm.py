"""Masked language modelling: what is hidden (Devlin et al. 2018, section 3.1), and the loss that transformers has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from patchword.data.loader import Batch
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.folder import read_model
from patchword.nn.packing import Packed
from patchword.tasks.masked_lm import MaskedExamples, MaskedLM
from patchword.tasks.task import Ask, Compute

KEY = (3, 1)


@pytest.fixture(scope="module")
def sequences(corpus: list[str], tokenizer: Tokenizer) -> Sequences:
    """The corpus' documents as they are: 4 to 100 tokens each."""
    return Sequences.from_arrays(tokenizer.encode(corpus))


@pytest.fixture(scope="module")
def examples(sequences: Sequences, tokenizer: Tokenizer) -> MaskedExamples:
    return MaskedExamples(sequences, tokenizer)


@pytest.fixture(scope="module")
def words(sequences: Sequences, tokenizer: Tokenizer) -> MaskedExamples:
    return MaskedExamples(sequences, tokenizer, whole_word=True)


def everything(examples: MaskedExamples, key: tuple[int, int] = KEY) -> Batch:
    return examples.batch(np.arange(len(examples)), key)


def shown(batch: Batch) -> torch.Tensor:
    """What the model sees."""
    packed = batch.inputs[0]
    assert isinstance(packed, Packed)
    return packed.values


def restored(batch: Batch) -> list[tuple[int, ...]]:
    """The sequences before masking, special tokens around them included."""
    tokens = shown(batch).clone()
    tokens[batch.at] = batch.targets
    return [tuple(part.tolist()) for part in tokens.split(batch.lengths)]


def equal(one: Batch, other: Batch) -> bool:
    return (
        one.lengths == other.lengths
        and torch.equal(shown(one), shown(other))
        and torch.equal(one.at, other.at)
        and torch.equal(one.targets, other.targets)
    )


def near(count: int, share: float, of: int) -> bool:
    """Within 4.5 standard deviations of a binomial: missed once in 100,000 times."""
    return abs(count - share * of) <= 4.5 * (of * share * (1 - share)) ** 0.5


# ------------------------------------------------------------------------------------------------ what is hidden


def test_nothing_but_the_chosen_tokens_changes(examples: MaskedExamples, tokenizer: Tokenizer) -> None:
    batch = everything(examples)
    originals = examples.sequences.gather(np.arange(len(examples)))
    framed = [(tokenizer.id("cls"), *ids.tolist(), tokenizer.id("sep")) for ids in originals]
    assert sorted(restored(batch)) == sorted(framed)
    assert list(batch.lengths) == sorted(map(len, framed))
    assert (batch.at.diff() > 0).all()


def test_fifteen_percent_of_every_sequence_is_chosen_and_at_least_one(examples: MaskedExamples) -> None:
    batch = everything(examples)
    chosen = torch.zeros(batch.tokens).index_fill_(0, batch.at, 1.0)
    counts = [int(part.sum()) for part in chosen.split(batch.lengths)]
    for length, count in zip(batch.lengths, counts, strict=True):
        assert count >= 1
        assert abs(count - 0.15 * (length - 2)) <= 1.0
    long = [(n - 2, count) for n, count in zip(batch.lengths, counts, strict=True) if n >= 30]
    assert sum(count for _, count in long) / sum(n for n, _ in long) == pytest.approx(0.15, abs=0.005)


def test_of_the_chosen_80_percent_are_masked_10_replaced_and_10_kept(
    examples: MaskedExamples, tokenizer: Tokenizer
) -> None:
    batches = [everything(examples, (0, epoch)) for epoch in range(4)]
    seen = torch.cat([shown(batch)[batch.at] for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    total = len(targets)
    assert total > 5000
    masked, kept = (seen == tokenizer.id("mask")), (seen == targets)
    replaced = seen[~masked & ~kept]
    # A random token is the original itself once in 395 times.
    same = 0.1 / (tokenizer.vocab_size - 5)
    assert near(int(masked.sum()), 0.8, total)
    assert near(int(kept.sum()), 0.1 + same, total)
    assert near(len(replaced), 0.1 - same, total)
    # Random means any ordinary token, each as likely as the others.
    counts = np.bincount(replaced.numpy(), minlength=tokenizer.vocab_size)
    assert not counts[tokenizer.is_special].any()
    expected = len(replaced) / (tokenizer.vocab_size - 5)
    assert (counts > 0).mean() > 1 - 2 * np.exp(-expected)
    assert counts.max() < expected + 7 * expected**0.5


@pytest.mark.parametrize(
    ("before", "after"), [((), ()), (("bos",), ()), ((), ("eos", "bos")), (("bos", "eos"), ("eos",))]
)
def test_any_frame_is_put_around_each_sequence(
    before: tuple[str, ...], after: tuple[str, ...], corpus: list[str]
) -> None:
    style = TokenizerStyle("bpe", {"bos": "<s>", "eos": "</s>", "mask": "<mask>"}, before, after)
    tokenizer = train_tokenizer(corpus, style, 400)
    examples = MaskedExamples(Sequences.from_arrays(tokenizer.encode(corpus[:20])), tokenizer)
    batch = examples.batch(np.arange(20), (0, 0))
    (packed,) = batch.inputs
    values = packed.values.clone()
    values[batch.at] = batch.targets
    framed = [tuple(part.tolist()) for part in values.split(list(packed.layout.lengths))]
    expected = [tuple(tokenizer.backend.encode(text).ids) for text in corpus[:20]]
    assert sorted(framed) == sorted(expected)
    assert sum(examples.lengths(np.arange(20))) == len(values)


def test_a_tokenizer_without_a_mask_is_told(corpus: list[str]) -> None:
    tokenizer = train_tokenizer(corpus, TokenizerStyle("bpe", {"eos": "</s>"}), 400)
    with pytest.raises(UserError, match="needs a mask token"):
        MaskedLM.prepare(Ask(data="nowhere"), tokenizer, lambda documents: None)


def test_every_place_is_as_likely_as_the_others(tokenizer: Tokenizer) -> None:
    same = Sequences.from_arrays([np.arange(10, 50, dtype=np.int32)] * 2000)
    batch = everything(MaskedExamples(same, tokenizer))
    places = (batch.at % 42 - 1).numpy()
    counts = np.bincount(places, minlength=40)
    assert counts.sum() == 2000 * 6
    # Chi-squared with 39 degrees of freedom: above 100 less than once in a million.
    assert ((counts - 300) ** 2 / 300).sum() < 100


def test_the_frame_is_never_chosen(examples: MaskedExamples, words: MaskedExamples) -> None:
    for kind in (examples, words):
        batch = everything(kind)
        layout = batch.inputs[0].layout
        frame = torch.cat([layout.starts, layout.cu_seqlens[1:].long() - 1])
        assert not torch.isin(batch.at, frame).any()


@pytest.mark.parametrize("whole_word", [False, True])
def test_special_tokens_in_the_text_are_never_chosen(whole_word: bool, tokenizer: Tokenizer) -> None:
    """A word that no piece can spell is [UNK]; transformers' collator leaves such tokens alone, too."""
    texts = ["ba be 東 bi 京 bo 都 do de di 市 da", "東 京", "ba [MASK] be [SEP] bi"] * 40
    encoded = tokenizer.encode(texts)
    assert any((ids == tokenizer.id("unk")).any() for ids in encoded)
    special = np.flatnonzero(tokenizer.is_special)
    mixed = Sequences.from_arrays([ids for ids in encoded if not np.isin(ids, special).all()])
    batch = everything(MaskedExamples(mixed, tokenizer, whole_word=whole_word))
    assert not np.isin(batch.targets.numpy(), special).any()


def test_the_same_key_gives_the_same_batch_and_another_other_masks(examples: MaskedExamples) -> None:
    assert equal(everything(examples), everything(examples))
    for other in [(3, 2), (4, 1)]:
        batch = everything(examples, other)
        assert not torch.equal(batch.at, everything(examples).at)
        assert sorted(restored(batch)) == sorted(restored(everything(examples)))


@given(others=st.sets(st.integers(0, 799), max_size=8), one=st.integers(0, 799), whole_word=st.booleans())
def test_what_is_masked_does_not_depend_on_the_rest_of_the_batch(
    others: set[int], one: int, whole_word: bool, examples: MaskedExamples, words: MaskedExamples
) -> None:
    kind = words if whole_word else examples
    ids = np.array(sorted(others | {one}, key=lambda i: (i * 31) % 97))
    batch, alone = kind.batch(ids, KEY), kind.batch(np.array([one]), KEY)
    (mine,) = _each(alone)
    assert mine in _each(batch)


class Part(NamedTuple):
    """One sequence of a batch, and what is hidden in it."""

    shown: list[int]
    targets: list[int]
    places: list[int]


def _each(batch: Batch) -> list[Part]:
    parts, start = [], 0
    for length in batch.lengths:
        mine = (batch.at >= start) & (batch.at < start + length)
        tokens = shown(batch)[start : start + length].tolist()
        parts.append(Part(tokens, batch.targets[mine].tolist(), (batch.at[mine] - start).tolist()))
        start += length
    return parts


def test_whole_words_are_never_hidden_in_part(words: MaskedExamples, tokenizer: Tokenizer) -> None:
    several = 0
    for part, tokens in zip(_each(everything(words)), restored(everything(words)), strict=True):
        word = np.cumsum([not tokenizer.token(i).startswith("##") for i in tokens])
        hidden = set(part.places)
        for number in {word[place] for place in hidden}:
            pieces = set(np.flatnonzero(word == number).tolist())
            assert pieces <= hidden
            several += len(pieces) > 1
    assert several > 100


def test_whole_words_are_left_where_they_would_go_over_the_share_but_for_one(
    words: MaskedExamples, tokenizer: Tokenizer
) -> None:
    for part, tokens in zip(_each(everything(words)), restored(everything(words)), strict=True):
        budget = max(1, round(0.15 * (len(tokens) - 2)))
        word = np.cumsum([not tokenizer.token(i).startswith("##") for i in tokens])
        assert part.places
        assert len(part.places) <= budget or len({word[place] for place in part.places}) == 1


def test_whole_words_keep_the_share(words: MaskedExamples) -> None:
    """At most 15 %, but for a sequence whose one chosen word is longer; near it where words are short beside it."""
    counts = [(len(p.shown) - 2, len(p.places)) for p in _each(everything(words)) if len(p.shown) > 60]
    assert 0.10 <= sum(c for _, c in counts) / sum(n for n, _ in counts) <= 0.155


# ------------------------------------------------------------------------------------------------ the loss


@pytest.fixture(scope="module")
def pair(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, nn.Module]:
    """The same weights as ours and as theirs."""
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=160,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    theirs = transformers.BertForMaskedLM(config).eval()
    nn.init.normal_(theirs.cls.predictions.bias, std=0.5)
    folder = tmp_path_factory.mktemp("bert")
    theirs.save_pretrained(folder)
    return read_model(folder).model.eval(), theirs


@pytest.fixture
def task(tokenizer: Tokenizer) -> MaskedLM:
    return MaskedLM(tokenizer, np.ones(tokenizer.vocab_size))


def their_batch(batch: Batch) -> dict[str, torch.Tensor]:
    """The batch padded, with -100 as the label of every token that is not chosen."""
    labels = torch.full((batch.tokens,), -100)
    labels[batch.at] = batch.targets

    def pad(values: torch.Tensor, value: int) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence(values.split(batch.lengths), batch_first=True, padding_value=value)

    mask = pad(torch.ones(batch.tokens, dtype=torch.long), 0)
    return {"input_ids": pad(shown(batch), 0), "attention_mask": mask, "labels": pad(labels, -100)}


def test_the_loss_is_that_of_transformers(
    pair: tuple[Model, nn.Module], task: MaskedLM, examples: MaskedExamples
) -> None:
    ours, theirs = pair
    batch = examples.batch(np.array([5, 700, 31, 31, 2, 64]), KEY)
    with torch.no_grad():
        loss, expected = task.loss(ours, batch) / batch.labels, theirs(**their_batch(batch)).loss
    assert abs(loss - expected) <= 1e-5
    ours.zero_grad()
    theirs.zero_grad()
    (task.loss(ours, batch) / batch.labels).backward()
    theirs(**their_batch(batch)).loss.backward()
    gradient = ours.trunk.embed.words.weight.grad - theirs.bert.embeddings.word_embeddings.weight.grad
    assert gradient.abs().max() <= 1e-5


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_packed_loss_is_the_mean_over_one_at_a_time(
    whole_word: bool,
    pair: tuple[Model, nn.Module],
    task: MaskedLM,
    examples: MaskedExamples,
    words: MaskedExamples,
) -> None:
    kind = words if whole_word else examples
    ids = np.array([9, 14, 200, 413, 413, 7, 799])
    with torch.no_grad():
        batch = kind.batch(ids, KEY)
        packed = task.loss(pair[0], batch) / batch.labels
        alone = [kind.batch(np.array([i]), KEY) for i in ids]
        total = sum(task.loss(pair[0], one) for one in alone)
    assert sum(one.labels for one in alone) == batch.labels
    assert abs(packed - total / batch.labels) <= 1e-5


def test_evaluation_is_exact_over_batches(
    pair: tuple[Model, nn.Module], corpus: list[str], examples: MaskedExamples, tokenizer: Tokenizer
) -> None:
    ours, theirs = pair
    ours.train()
    few = MaskedExamples(Sequences.from_arrays(tokenizer.encode(corpus[:40])), tokenizer)
    counts = np.random.default_rng(0).integers(0, 50, tokenizer.vocab_size)
    metrics = MaskedLM(tokenizer, counts).evaluate(ours, few, Compute(batch_tokens=150))
    assert ours.training  # as it was
    ours.eval()
    batch = everything(few, (0, 0))
    with torch.no_grad():
        answer = theirs(**their_batch(batch))
    labels = their_batch(batch)["labels"]
    hidden = labels != -100
    guessed = (answer.logits.argmax(-1)[hidden] == labels[hidden]).float().mean()
    words = counts * ~tokenizer.is_special
    chance = np.log((words[labels[hidden]] + 1) / (words.sum() + len(words)))
    assert metrics["hidden_tokens"] == int(hidden.sum())
    assert metrics["loss"] == pytest.approx(answer.loss.item(), abs=1e-5)
    assert metrics["accuracy"] == pytest.approx(guessed.item())
    assert metrics["unigram_loss"] == pytest.approx(-chance.mean(), abs=1e-6)


def test_the_memory_of_an_evaluation_is_that_of_a_batch(
    pair: tuple[Model, nn.Module], task: MaskedLM, examples: MaskedExamples
) -> None:
    """No batch is larger than asked for, and none is kept."""
    seen = []
    for _, batch in Compute(batch_tokens=400).over(pair[0], examples):
        assert batch.tokens <= 400
        assert not torch.is_grad_enabled()
        seen.append(batch.tokens)
    assert sum(seen) == int(examples.lengths(np.arange(len(examples))).sum())


# ------------------------------------------------------------------------------------------------ the corpus


def test_a_corpus_is_prepared_with_a_part_held_back(corpus_file: Path, tokenizer: Tokenizer) -> None:
    ask = Ask(data=corpus_file, lines=True, max_length=32)
    prepared = MaskedLM.prepare(ask, tokenizer, lambda documents: None)
    for part in (prepared.train, prepared.validation):
        lengths = part.lengths(np.arange(len(part)))
        assert (lengths <= 32).all()
        assert (lengths >= 3).all()
    train, validation = (set(restored(everything(part))) for part in (prepared.train, prepared.validation))
    assert train
    assert validation
    assert not train & validation
    assert prepared.facts["documents"] == 800
    assert prepared.facts["padding"] == 0.0
    assert prepared.facts["bytes_per_token"] <= 4


def test_another_share_is_for_learning_alone(corpus_file: Path, tokenizer: Tokenizer) -> None:
    """So that losses of models that learnt from other shares are of the same words."""
    prepared = {
        share: MaskedLM.prepare(
            Ask(data=corpus_file, lines=True, max_length=32, mask_share=share), tokenizer, lambda documents: None
        )
        for share in (0.15, 0.5)
    }
    hidden = {}
    for share, parts in prepared.items():
        batch = everything(parts.train)
        hidden[share] = batch.labels / (batch.tokens - 2 * len(batch.lengths))
        assert hidden[share] == pytest.approx(share, abs=0.02)
    usual, more = (everything(prepared[share].validation) for share in (0.15, 0.5))
    assert torch.equal(shown(usual), shown(more))
    assert torch.equal(usual.targets, more.targets)


def test_a_corpus_too_small_to_hold_a_part_back_is_told_with_its_size(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ba be bi")
    tokens = len(tokenizer.encode(["ba be bi"])[0])
    with pytest.raises(UserError, match=f"{tokens} tokens in 1 sequences"):
        MaskedLM.prepare(Ask(data=tmp_path / "a.txt"), tokenizer, lambda documents: None)


def test_a_lower_loss_is_better(task: MaskedLM) -> None:
    assert task.better({"loss": 1.0}) > task.better({"loss": 2.0})


def test_white_space_is_neither_asked_for_nor_shown_as_letters() -> None:
    """A byte-level vocabulary writes a line's end as a letter."""
    style = TokenizerStyle(
        "bpe", special={"unk": "[UNK]", "cls": "[CLS]", "pad": "[PAD]", "mask": "[MASK]"}, before=("cls",)
    )
    text = "one\n        two\n        three\n        four " * 20
    tokenizer = train_tokenizer([text], style, 300)
    task = MaskedLM(tokenizer, np.ones(tokenizer.vocab_size))
    blank = [int(i) for i in tokenizer.encode([text])[0] if not tokenizer.decode([int(i)]).strip()]
    assert blank
    assert {task._readable(i) for i in blank} == {"white space"}
    assert task._readable(tokenizer.id("mask")) == "[MASK]"
