"""What frozen vectors say of the labels: the vectors that `embed` gives, of the start as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import patchword as pw
from patchword.data.augment import augmentation
from patchword.data.tokenizers import Tokenizer
from patchword.models.family import Model, families
from patchword.tasks import frozen
from patchword.tasks.labels import MULTI, SINGLE, LabelSet
from patchword.tasks.metrics import scores
from patchword.tasks.probe import probe
from patchword.tasks.task import Compute, Prepared
from patchword.tasks.text_classification import TextClassification, TextExamples
from patchword.training.loop import Interrupted
from tests.tasks.test_image_classification import _examples

HOW: dict[str, Any] = {"steps": 2, "batch_size": 8, "lr": 1e-3, "precision": "fp32", "device": "cpu", "quiet": True}
ADDED = {"linear probe", "nearest neighbours"}


@pytest.fixture
def model(tokenizer: Tokenizer) -> Model:
    family = families()["bert"]
    config = family.config(width=32, depth=1, heads=2, hidden=32, vocab_size=tokenizer.vocab_size, max_length=40)
    torch.manual_seed(0)
    return Model(family, config, "class", ("a", "b"), SINGLE)


def test_vectors_are_means_of_tokens_in_the_order_asked_for(
    model: Model, corpus: list[str], tokenizer: Tokenizer
) -> None:
    examples = TextExamples(corpus[:30], tokenizer, 40)
    ids = np.array([2, 3, 11, 29])
    found = frozen.vectors(model, *examples.parts(), ids, Compute(batch_tokens=60))
    assert model.training  # as it was
    model.eval()
    with torch.no_grad():
        expected = [model.read(*examples.batch(np.array([i]), (0, 0)).inputs).values.mean(0) for i in ids]
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5)


def test_of_a_long_text_it_is_the_mean_of_its_windows(model: Model, corpus: list[str], tokenizer: Tokenizer) -> None:
    examples = TextExamples(corpus[:12], tokenizer, 12, windows="always")
    parts, owners = examples.parts()
    assert len(parts) > 12
    found = frozen.vectors(model, parts, owners, np.array([4, 5, 7]), Compute())
    each = frozen.vectors(model, parts, np.arange(len(parts)), np.arange(len(parts)), Compute())
    np.testing.assert_allclose(found, [each[owners == i].mean(0) for i in (4, 5, 7)], atol=1e-5)


def test_pictures_are_read_as_they_are_though_learnt_changed() -> None:
    examples, ids = _examples(), np.arange(4)
    examples.augment(augmentation("strong"), 3)
    parts, owners = examples.parts()
    assert owners.tolist() == [0, 1, 2, 3]
    (pixels,) = parts.batch(ids, (0, 0)).inputs
    assert torch.equal(torch.as_tensor(pixels), torch.from_numpy(examples.images.fetch(ids)))
    assert not torch.equal(torch.as_tensor(examples.batch(ids, (0, 0)).inputs[0]), torch.as_tensor(pixels))


def test_more_rows_than_the_most_are_drawn() -> None:
    assert frozen.some(10).tolist() == list(range(10))
    rows = frozen.some(12_000)
    assert len(set(rows)) == frozen.MOST_ROWS
    assert rows.tolist() == sorted(rows)
    assert rows.tolist() == frozen.some(12_000).tolist()


def test_the_probe_is_scored_on_the_held_out_rows(model: Model, corpus: list[str], tokenizer: Tokenizer) -> None:
    targets = np.random.default_rng(0).integers(2, size=60)
    texts = [f"{'badu badu' if t else 'kilo kilo'} {text}" for t, text in zip(targets, corpus, strict=False)]
    train, held_out = (TextExamples(texts[s], tokenizer, 40, targets[s]) for s in (slice(40), slice(40, 60)))
    task = TextClassification(LabelSet(("a", "b"), SINGLE))
    report = task.probes(model, Prepared(task, train, held_out), Compute())
    assert report.keys() == {"floors", "learning_curve", "suspects"}
    assert report["floors"].keys() == ADDED
    known, asked = (frozen.vectors(model, *e.parts(), np.arange(len(e)), Compute()) for e in (train, held_out))
    right = (probe(known, targets[:40], asked) == targets[40:]).mean()
    assert report["floors"]["linear probe"]["accuracy"] == pytest.approx(right)
    assert report["learning_curve"]["counts"] == [5, 10, 20, 40]
    assert report["learning_curve"]["linear probe"][-1] == pytest.approx([right])
    words = task.floors(train, held_out)["tf-idf"]["accuracy"]
    assert report["learning_curve"]["tf-idf"][-1] == pytest.approx([words])


def test_rows_with_several_labels_are_probed_and_numbers_are_not(
    model: Model, corpus: list[str], tokenizer: Tokenizer
) -> None:
    targets = (np.random.default_rng(0).random((50, 2)) < 0.5).astype(np.float32)
    train, held_out = (TextExamples(corpus[s], tokenizer, 40, targets[s]) for s in (slice(40), slice(40, 50)))
    task = TextClassification(LabelSet(("a", "b"), MULTI))
    report = task.probes(model, Prepared(task, train, held_out, held_out), Compute())
    assert report.keys() == {"floors", "test_floors"}
    assert report["floors"] == report["test_floors"]
    assert report["floors"]["linear probe"].keys() == scores(np.zeros((10, 2)), targets[40:], MULTI).keys()
    task = TextClassification(LabelSet(("price",), "regression"))
    assert task.probes(model, Prepared(task, train, held_out), Compute()) == {}


def test_a_report_has_the_start_beside_the_model(tmp_path: Path) -> None:
    """Not the model that has learnt: a rate that ruins the weights leaves the probe as it is. Also after a resume."""
    random = np.random.default_rng(0)
    words = ["red", "green", "blue", "late", "early", "paid", "open"]
    (tmp_path / "notes.txt").write_text("\n".join(" ".join(random.choice(words, 20)) for _ in range(60)))
    start = tmp_path / "start"
    first = pw.pretrain(
        tmp_path / "notes.txt", model="bert-tiny", lines=True, max_length=32, out=start, **HOW | {"steps": 1}
    )
    assert "floors" not in first.report
    rows = [{"text": " ".join(random.choice(words, 6)), "label": str(random.choice(["a", "b"]))} for _ in range(80)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reports = []
    for out, lr in (("mild", 1e-5), ("wild", 10.0)):
        result = pw.finetune(start, tmp_path / "rows.jsonl", out=tmp_path / out, seeds=1, **HOW | {"lr": lr})
        reports.append(result.report)
    assert reports[0]["floors"].keys() == {"majority", "tf-idf"} | ADDED
    assert reports[0]["floors"] == reports[1]["floors"]
    assert reports[0]["learning_curve"] == reports[1]["learning_curve"]
    with pytest.raises(Interrupted):
        pw.finetune(start, tmp_path / "rows.jsonl", out=tmp_path / "cut", seeds=1, stop_after=1, **HOW)
    again = pw.resume(tmp_path / "cut", quiet=True).report
    assert again["floors"] == reports[0]["floors"]
