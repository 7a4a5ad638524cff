"""Next tokens: the loss of transformers on the same rows, and no way from one document to another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from patchword.data.tokenizers import Tokenizer, TokenizerStyle, train_tokenizer
from patchword.models.family import Model, preset
from patchword.models.folder import read_model
from patchword.tasks.causal_lm import CausalExamples, CausalLM
from patchword.tasks.task import Ask, Compute
from tests.models.parity import scrambled

STYLE = TokenizerStyle("bpe", {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}, before=("bos",))


@pytest.fixture(scope="module")
def bpe(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, STYLE, 400)


@pytest.fixture(scope="module")
def prepared(corpus_file: Path, bpe: Tokenizer):
    return CausalLM.prepare(Ask(data=corpus_file, lines=True, max_length=24), bpe, lambda documents: None)


def test_every_token_has_the_next_one_as_target_and_documents_end(prepared, bpe: Tokenizer) -> None:
    examples = prepared.train
    assert isinstance(examples, CausalExamples)
    batch = examples.batch(np.arange(50), (0, 0))
    (tokens,) = batch.inputs
    expected = [t for s in tokens.sequences() for t in s[1:].tolist()]
    assert batch.targets.tolist() == expected
    assert all(s[0] == bpe.id("bos") for s in tokens.sequences())
    assert max(batch.lengths) <= 24
    # Pieces that end a document end with its token; pieces within one do not.
    ended = sum(int(s[-1]) == bpe.id("eos") for s in tokens.sequences())
    assert 0 < ended < 50


def test_the_loss_is_that_of_transformers(prepared, bpe: Tokenizer, tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=bpe.vocab_size, n_embd=32, n_layer=2, n_head=4, n_positions=24)
    theirs = scrambled(transformers.GPT2LMHeadModel(config))
    theirs.save_pretrained(tmp_path)
    ours = read_model(tmp_path).model.eval()
    batch = prepared.train.batch(np.arange(12), (0, 0))
    rows = batch.inputs[0].sequences()
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss = prepared.task.loss(ours, batch) / batch.labels
    assert abs(loss - expected) <= 1e-5


def test_a_document_says_nothing_of_another(prepared) -> None:
    """Its logits are bit-identical whatever stands beside it."""
    family, config = preset("gpt2-tiny")
    model = Model(family, config.model_copy(update={"vocab_size": 400, "max_length": 24}), "next_token").eval()
    batch = prepared.train.batch(np.arange(6), (0, 0))
    (tokens,) = batch.inputs
    changed = tokens.values.clone()
    lengths = tokens.layout.lengths
    changed[: lengths[0]] = 7
    with torch.no_grad():
        before = model(tokens).split(list(lengths))
        after = model(type(tokens)(changed, tokens.layout)).split(list(lengths))
    assert not torch.equal(before[0], after[0])
    assert all(torch.equal(a, b) for a, b in zip(before[1:], after[1:], strict=True))


def test_the_penalty_on_the_scores(prepared) -> None:
    family, config = preset("gpt2-tiny")
    model = Model(family, config.model_copy(update={"vocab_size": 400, "max_length": 24}), "next_token").eval()
    batch = prepared.train.batch(np.arange(6), (0, 0))
    with torch.no_grad():
        plain = prepared.task.loss(model, batch)
        with_penalty = CausalLM(prepared.task.tokenizer, np.ones(400), 0.1).loss(model, batch)
        z = model(*batch.inputs)[batch.at].logsumexp(-1)
    assert abs(with_penalty - plain - 0.1 * z.square().sum()) <= 1e-4 * with_penalty


def test_a_written_text_comes_back(prepared, bpe: Tokenizer) -> None:
    family, config = preset("gpt2-tiny")
    sizes = {"vocab_size": bpe.vocab_size, "max_length": 24, "eos_token_id": bpe.id("eos")}
    model = Model(family, config.model_copy(update=sizes), "next_token").eval()
    task = CausalLM.restore(model, bpe)
    answers = task.predict(model, task.inputs(["baber dunen", ""], bpe, Ask(data="")), Compute())
    assert [list(answer) for answer in answers] == [["written"], ["written"]]
    assert all(isinstance(answer["written"], str) for answer in answers)
