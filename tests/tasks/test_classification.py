"""Classification of texts: the losses and predictions of transformers, in the unit and order of the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from patchword.data.loader import Batch
from patchword.data.tokenizers import Tokenizer
from patchword.models.family import Model, families
from patchword.models.folder import read_model
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet
from patchword.tasks.task import Compute
from patchword.tasks.text_classification import TextClassification, TextExamples

PROBLEMS = [SINGLE, MULTI, REGRESSION]
ROWS = 50


def names(problem: str) -> tuple[str, ...]:
    return ("price",) if problem == REGRESSION else ("a", "b", "c")


def targets(problem: str) -> np.ndarray:
    random = np.random.default_rng(0)
    return {
        SINGLE: random.integers(3, size=ROWS),
        MULTI: (random.random((ROWS, 3)) < 0.4).astype(np.float32),
        REGRESSION: random.normal(size=(ROWS, 1)).astype(np.float32),
    }[problem]


@pytest.fixture(params=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def examples(problem: str, corpus: list[str], tokenizer: Tokenizer) -> TextExamples:
    return TextExamples(corpus[:ROWS], tokenizer, 40, targets(problem))


@pytest.fixture
def pair(problem: str, tokenizer: Tokenizer, tmp_path: Path) -> tuple[Model, nn.Module]:
    """The same weights as ours and as theirs."""
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.2,
        problem_type=problem,
        id2label=dict(enumerate(names(problem))),
    )
    torch.manual_seed(0)
    theirs = transformers.BertForSequenceClassification(config).eval()
    nn.init.normal_(theirs.classifier.bias, std=0.5)
    theirs.save_pretrained(tmp_path)
    return read_model(tmp_path).model.eval(), theirs


def padded(batch: Batch) -> dict[str, torch.Tensor]:
    parts = batch.inputs[0].sequences()
    masks = [torch.ones_like(part) for part in parts]
    return {
        "input_ids": nn.utils.rnn.pad_sequence(parts, batch_first=True),
        "attention_mask": nn.utils.rnn.pad_sequence(masks, batch_first=True),
    }


def test_the_loss_is_that_of_transformers(problem: str, pair: tuple[Model, nn.Module], examples: TextExamples) -> None:
    ours, theirs = pair
    batch = examples.batch(np.array([4, 0, 49, 17, 17]), (0, 0))
    assert batch.targets.tolist() == targets(problem)[[4, 0, 49, 17, 17]].tolist()
    with torch.no_grad():
        loss = TextClassification(LabelSet(names(problem), problem)).loss(ours, batch) / batch.labels
        assert abs(loss - theirs(**padded(batch), labels=batch.targets).loss) <= 1e-5


def test_predictions_stand_in_the_order_of_the_rows(
    problem: str, pair: tuple[Model, nn.Module], examples: TextExamples
) -> None:
    ours, theirs = pair
    task = TextClassification(LabelSet(names(problem), problem))
    logits = task.logits(ours, examples, Compute(batch_tokens=100))
    with torch.no_grad():
        expected = theirs(**padded(examples.batch(np.arange(ROWS), (0, 0)))).logits
    assert np.abs(logits - expected.numpy()).max() <= 1e-5
    decoded = task.predict(ours, examples, Compute(batch_tokens=100))
    assert len(decoded) == ROWS
    for row, score in zip(decoded, expected, strict=True):
        if problem == SINGLE:
            assert row["label"] == names(problem)[score.argmax()]
            assert row["confidence"] == pytest.approx(score.softmax(0).max().item(), abs=1e-5)
        elif problem == MULTI:
            assert row["labels"] == [name for name, s in zip(names(problem), score, strict=True) if s > 0]
        else:
            assert row["value"] == pytest.approx(score.item(), abs=1e-5)


def test_a_text_is_framed_and_cut_as_transformers_does(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path, 20)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [*corpus[:30], ""]
    examples = TextExamples(texts, tokenizer, 20)
    batch = examples.batch(np.arange(31), (0, 0))
    ids = [part.tolist() for part in batch.inputs[0].sequences()]
    expected = [theirs(text, truncation=True, max_length=20)["input_ids"] for text in texts]
    assert ids == expected
    full = [len(theirs(text)["input_ids"]) for text in texts]
    assert max(full) > 20
    assert examples.facts["dropped_tokens"] == sum(max(0, length - 20) for length in full)
    assert examples.facts["tokens"] == sum(length - 2 for length in full)


def test_a_regression_learns_without_its_unit_and_answers_in_it(corpus: list[str], tokenizer: Tokenizer) -> None:
    """What is saved gives the number itself: `finish` puts mean and deviation into the head, for good."""
    prices = (1e5 + 2e4 * targets(REGRESSION)).astype(np.float32)
    task = TextClassification(LabelSet(("price",), REGRESSION), shift=1e5, scale=2e4)
    assert task.scaled(prices) == pytest.approx(targets(REGRESSION), abs=1e-4)
    examples = TextExamples(corpus[:ROWS], tokenizer, 40, task.scaled(prices))
    family = families()["bert"]
    config = family.config(width=32, depth=1, heads=2, hidden=32, vocab_size=tokenizer.vocab_size, max_length=40)
    model = Model(family, config, "class", ("price",), REGRESSION).eval()
    answers = task.logits(model, examples, Compute())
    measured = task.evaluate(model, examples, Compute())
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((answers - prices) ** 2)), rel=1e-4)
    task.finish(model)
    with torch.no_grad():
        raw = model(*examples.batch(np.arange(ROWS), (0, 0)).inputs).numpy()
    assert raw == pytest.approx(answers, rel=1e-5)
    assert task.logits(model, examples, Compute()) == pytest.approx(answers, rel=1e-5)


@pytest.mark.parametrize(
    ("problem", "better", "worse"),
    [
        (SINGLE, {"accuracy": 0.9, "loss": 2.0}, {"accuracy": 0.8, "loss": 1.0}),
        (SINGLE, {"accuracy": 0.9, "loss": 1.0}, {"accuracy": 0.9, "loss": 2.0}),
        (MULTI, {"micro_f1": 0.9, "loss": 2.0}, {"micro_f1": 0.8, "loss": 1.0}),
        (REGRESSION, {"rmse": 1.0, "loss": 1.0}, {"rmse": 2.0, "loss": 4.0}),
    ],
)
def test_what_is_better(problem: str, better: dict[str, float], worse: dict[str, float]) -> None:
    task = TextClassification(LabelSet(names(problem), problem))
    assert task.better(better) > task.better(worse)
