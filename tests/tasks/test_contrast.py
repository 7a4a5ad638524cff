"""Supervised contrast: the paper's double sum, and what it does to vectors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from patchword.data.loader import Batch
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.tasks.contrast import FEW, SHARE, contrast
from patchword.tasks.labels import SINGLE, LabelSet
from patchword.tasks.task import Ask
from patchword.tasks.text_classification import TextClassification, TextExamples


def by_hand(vectors: Tensor, targets: list[int], temperature: float) -> float:
    """Khosla et al. 2020, equation 2, term by term."""
    z = [v / v.norm() for v in vectors.double()]
    total = 0.0
    for i, own in enumerate(targets):
        others = [a for a in range(len(z)) if a != i]
        fellows = [p for p in others if targets[p] == own]
        below = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in others)
        for p in fellows:
            total -= math.log(math.exp(float(z[i] @ z[p]) / temperature) / below) / len(fellows)
    return total


@pytest.mark.parametrize("targets", [[0, 0, 1, 1, 1, 2], [0, 0], [0, 1, 2], [1], [3, 3, 3, 3]])
def test_it_is_the_papers_sum(targets: list[int]) -> None:
    vectors = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(0)) * 3
    vectors.requires_grad_()
    loss = contrast(vectors, torch.tensor(targets), 0.2)
    assert float(loss.detach()) == pytest.approx(by_hand(vectors.detach(), targets, 0.2), rel=1e-5, abs=1e-7)
    loss.backward()
    assert torch.isfinite(vectors.grad).all()


def test_it_brings_rows_of_a_class_together() -> None:
    vectors = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    targets = torch.arange(12) % 3
    for _ in range(200):
        (slope,) = torch.autograd.grad(contrast(vectors, targets), vectors)
        vectors = (vectors - 0.5 * slope).detach().requires_grad_()
    cosines = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    same = targets[:, None] == targets[None]
    assert cosines[same].min() > 0.9
    assert cosines[~same].max() < 0.0


def test_the_loss_of_a_task_has_its_share(corpus: list[str], tokenizer: Tokenizer) -> None:
    family = families()["bert"]
    config = family.config(width=32, depth=1, heads=2, hidden=32, vocab_size=tokenizer.vocab_size, max_length=40)
    model = Model(family, config, "class", ("a", "b"), SINGLE).eval()
    targets = torch.arange(8) % 2
    batch: Batch = TextExamples(corpus[:8], tokenizer, 40, targets.numpy()).batch(torch.arange(8).numpy(), (0, 0))
    labels = LabelSet(("a", "b"), SINGLE)
    plain = TextClassification(labels).loss(model, batch)
    mixed = TextClassification(labels, contrast=0.25).loss(model, batch)
    means = torch.stack([tokens.mean(0) for tokens in model.features(*batch.inputs).sequences()])
    expected = 0.75 * float(plain.detach()) + 0.25 * by_hand(means.detach(), targets.tolist(), 0.3)
    assert float(mixed.detach()) == pytest.approx(expected, rel=1e-5)


def test_rows_with_several_labels_are_refused(tmp_path, tokenizer: Tokenizer) -> None:
    lines = "".join(f"some words {i},{'a|b' if i % 2 else 'b|c'}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    ask = Ask(tmp_path / "rows.csv", problem="multi_label_classification", contrast=0.5)
    with pytest.raises(UserError, match="each row needs one class"):
        TextClassification.prepare(ask, tokenizer, lambda done: None)


@pytest.mark.parametrize(
    ("rows", "second", "asked", "share"),
    [
        (40, "b", None, SHARE),
        (40, "b", 0.0, 0.0),
        (40, "b", 0.2, 0.2),
        (40, "a|b", None, 0.0),
        (2 * FEW, "b", None, 0.0),
    ],
)
def test_few_rows_of_one_class_each_are_drawn_together_unless_told_otherwise(
    tmp_path, tokenizer: Tokenizer, rows: int, second: str, asked: float | None, share: float
) -> None:
    lines = "".join(f"some words {i},{second if i % 2 else 'a'}\n" for i in range(rows))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    problem = "multi_label_classification" if "|" in second else None
    ask = Ask(tmp_path / "rows.csv", contrast=asked, problem=problem)
    prepared = TextClassification.prepare(ask, tokenizer, lambda done: None)
    assert isinstance(prepared.task, TextClassification)
    assert prepared.task.contrast == share
    assert any("--contrast 0.5" in note for note in prepared.notes) == (asked is None and share == SHARE)


def test_numbers_have_no_contrast(tmp_path, tokenizer: Tokenizer) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"some words {i},{i / 7:.3f}\n" for i in range(40)))
    prepared = TextClassification.prepare(Ask(tmp_path / "rows.csv"), tokenizer, lambda done: None)
    assert isinstance(prepared.task, TextClassification)
    assert prepared.task.contrast == 0.0
