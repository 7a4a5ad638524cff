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


def test_the_probe_is_scored_on_the_held_out_rows(model: Model, corpus: list[str], tokenizer: Tokenizer) -> None:
    targets = np.random.default_rng(0).integers(2, size=60)
    texts = [f"{'badu badu' if t else 'kilo kilo'} {text}" for t, text in zip(targets, corpus, strict=False)]
    train, held_out = (TextExamples(texts[s], tokenizer, 40, targets[s]) for s in (slice(40), slice(40, 60)))
    task = TextClassification(LabelSet(("a", "b"), SINGLE))
    outputs = np.eye(2)[1 - targets[40:]]  # all wrong
    predictions = {"validation": outputs, "test": outputs}
    prepared = Prepared(task, train, held_out, held_out, held_back=True, predictions=predictions)
    report = task.compared(task.probes(model, prepared, Compute()), prepared)
    assert report.keys() == {"floors", "test_floors", "learning_curve", "suspects"}
    assert report["floors"].keys() == ADDED
    known, asked = (frozen.vectors(model, *e.parts(), np.arange(len(e)), Compute()) for e in (train, held_out))
    right = (probe(known, targets[:40], asked) == targets[40:]).mean()
    assert report["floors"]["linear probe"]["accuracy"] == pytest.approx(right)
    assert report["floors"]["linear probe"]["gain"] == pytest.approx(-right)
    # On rows that are no part of the data, a baseline is trained on all labelled rows, those held back too.
    right = (probe(np.concatenate([known, asked]), targets, asked) == targets[40:]).mean()
    assert report["test_floors"]["linear probe"]["accuracy"] == pytest.approx(right)
    assert report["learning_curve"]["rows"] == report["suspects"]["looked_at"] == 60


def test_a_set_of_its_own_for_validation_is_not_trained_on(
    model: Model, corpus: list[str], tokenizer: Tokenizer
) -> None:
    targets = np.random.default_rng(0).integers(2, size=60)
    train, held_out = (TextExamples(corpus[s], tokenizer, 40, targets[s]) for s in (slice(40), slice(40, 60)))
    task = TextClassification(LabelSet(("a", "b"), SINGLE))
    report = task.probes(model, Prepared(task, train, held_out, held_out), Compute())
    assert report["floors"] == report["test_floors"]
    assert report["learning_curve"]["rows"] == 40


def test_in_a_cross_validation_the_curve_ends_at_the_score_of_the_probe(
    model: Model, corpus: list[str], tokenizer: Tokenizer
) -> None:
    targets = np.random.default_rng(0).integers(2, size=60)
    texts = [f"{'badu badu' if t else 'kilo kilo'} {text}" for t, text in zip(targets, corpus, strict=False)]
    rows = TextExamples(texts, tokenizer, 40, targets)
    task = TextClassification(LabelSet(("a", "b"), SINGLE))
    prepared = Prepared(task, rows, rows, folds=np.arange(60) % 4, predictions={"validation": np.eye(2)[targets]})
    report = task.probes(model, prepared, Compute())
    curve = report["learning_curve"]
    report = task.compared({"floors": report["floors"] | task.baselines(prepared)["floors"]}, prepared)
    for name in ("linear probe", "tf-idf"):
        assert curve[name][-1] == pytest.approx(report["floors"][name]["accuracy"])
        assert report["floors"][name]["gain"] == pytest.approx(1 - report["floors"][name]["accuracy"])
    vectors = frozen.vectors(model, *rows.parts(), np.arange(60), Compute())
    right = []
    for fold in range(4):
        there = np.arange(60) % 4 == fold
        right += (probe(vectors[~there], targets[~there], vectors[there]) == targets[there]).tolist()
    assert report["floors"]["linear probe"]["accuracy"] == pytest.approx(np.mean(right))


def test_more_rows_than_the_most_are_drawn(corpus: list[str], tokenizer: Tokenizer) -> None:
    rows = TextExamples(corpus[:50], tokenizer, 40)
    task = TextClassification(LabelSet(("a", "b"), SINGLE))
    division = task.division(Prepared(task, rows, rows, folds=np.arange(50) % 5), 20)
    (some,) = division.sets
    assert len(some) == len(division.all_rows) == 20
    assert sorted(row for _, judged in division.splits for row in judged) == list(range(20))
    assert [rows.texts.index(text) for text in some.raw()] == sorted(rows.texts.index(text) for text in some.raw())


def test_rows_with_several_labels_are_probed_and_numbers_are_not(
    model: Model, corpus: list[str], tokenizer: Tokenizer
) -> None:
    targets = (np.random.default_rng(0).random((50, 2)) < 0.5).astype(np.float32)
    train, held_out = (TextExamples(corpus[s], tokenizer, 40, targets[s]) for s in (slice(40), slice(40, 50)))
    task = TextClassification(LabelSet(("a", "b"), MULTI))
    report = task.probes(model, Prepared(task, train, held_out, held_out), Compute())
    assert report.keys() == {"floors", "test_floors"}
    assert report["floors"] == report["test_floors"]
    names = scores(np.zeros((10, 2)), targets[40:], MULTI).keys()
    assert report["floors"]["linear probe"].keys() == names | {"decisions"}
    task = TextClassification(LabelSet(("price",), "regression"))
    assert task.probes(model, Prepared(task, train, held_out), Compute()) == {}


def without_gain(report: dict[str, Any]) -> dict[str, Any]:
    """A report with what the baselines reach, and not what the model gains over them."""
    floors = {
        method: {name: value for name, value in metrics.items() if "gain" not in name}
        for method, metrics in report["floors"].items()
    }
    return report | {"floors": floors}


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
        reports.append(without_gain(result.report))
    assert reports[0]["floors"].keys() == {"majority", "tf-idf"} | ADDED
    assert reports[0]["floors"] == reports[1]["floors"]
    assert reports[0]["learning_curve"] == reports[1]["learning_curve"]
    with pytest.raises(Interrupted):
        pw.finetune(start, tmp_path / "rows.jsonl", out=tmp_path / "cut", seeds=1, stop_after=1, **HOW)
    again = without_gain(pw.resume(tmp_path / "cut", quiet=True).report)
    assert again["floors"] == reports[0]["floors"]
