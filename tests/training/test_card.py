"""The card of a model folder is one that the hub reads, and says what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import patchword as pw
from patchword.tasks.calibration import confidence_report
from patchword.tasks.labels import MULTI
from patchword.tasks.metrics import scores
from patchword.training.verdict import beside_best, collapsed, headline, limits, start_of, trust

HOW: dict[str, Any] = {"steps": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model, and one that has learnt two labels with two seeds."""
    folder = tmp_path_factory.mktemp("card")
    words = ["red", "green", "blue", "late", "early", "paid", "open"]
    random = np.random.default_rng(0)
    (folder / "notes.txt").write_text("\n".join(" ".join(random.choice(words, 30)) for _ in range(60)))
    pw.pretrain(
        folder / "notes.txt", model="bert-tiny", lines=True, steps=2, max_length=32, out=folder / "base", quiet=True
    )
    rows = [{"text": " ".join(random.choice(words, 6)), "label": "no" if i % 8 else "yes: & <b>"} for i in range(120)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:80]))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[80:]))
    pw.finetune(folder / "base", folder / "train.jsonl", test=folder / "test.jsonl", out=folder / "run", seeds=2, **HOW)
    return folder


def card_of(folder: Path) -> tuple[ModelCard, dict[str, Any]]:
    return ModelCard.load(folder / "README.md"), json.loads((folder / "patchword.json").read_text())


def test_the_hub_reads_it(runs: Path) -> None:
    card, told = card_of(runs / "run")
    card.validate = lambda **_: None  # asks the network
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.tags == ["patchword", "bert"]
    assert card.data.license is None
    assert card.data.base_model is None  # a folder of this machine is none of the hub's
    results = {result.metric_type: result for result in card.data.eval_results}
    assert set(results) == {"loss", "accuracy", "macro_f1"}
    assert results["accuracy"].metric_value == pytest.approx(told["report"]["test"]["accuracy"], abs=1e-6)
    assert results["accuracy"].dataset_name == "test.jsonl"
    assert results["accuracy"].task_type == "text-classification"


def test_it_says_what_was_measured(runs: Path) -> None:
    card, told = card_of(runs / "run")
    report = told["report"]
    for expected in (
        headline(report),
        told["data"]["fingerprint"],
        "80 rows to train on, all of them validated by 2-fold cross-validation",
        "| cross-validation | loss |",
        "| **this model** |",
        f"| tf-idf | {report['test_floors']['tf-idf']['loss']:.3f}",
        "3 runs with seeds from 0 on",
        "In the 2 folds, accuracy is",
        f"{report['tokens']:,} tokens",
        f"on cpu with {report['threads']} CPU threads",
        "BertForSequenceClassification.from_pretrained",
        "patchword predict run INPUT",
    ):
        assert expected in card.text
    assert str(runs) not in card.content  # no path of this machine


def test_a_pretrained_model_has_one(runs: Path) -> None:
    card, told = card_of(runs / "base")
    assert card.data.pipeline_tag == "fill-mask"
    assert "from random weights of the preset bert-tiny" in card.text
    assert headline(told["report"]) in card.text
    assert "word frequencies alone" in card.text


def test_rare_classes_and_floors_are_told(runs: Path) -> None:
    _, told = card_of(runs / "run")
    assert told["data"]["label_rows"] == {"no": 70, "yes: & <b>": 10}
    said = " ".join(limits(told))
    assert "fewer than 20 rows to learn from: yes: & <b> 10." in said
    assert "no test part" not in said
    for metrics in told["report"]["test_floors"].values():
        metrics |= {"gain": -0.1, "gain_low": -0.2, "gain_high": -0.05}
    told["report"]["cross_validation"]["collapsed"] = [1]
    said = " ".join(limits(told))
    assert "A simple method is better on these rows" in said
    assert "1 of 2 folds collapsed" in said


def measured(value: float, name: str = "accuracy") -> dict[str, float]:
    return {"loss": 1.0, name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05, "rows": 100}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (0.9, "better by 15.0 points (95 % interval of the difference: +7.9 to +22.1) than tf-idf, 0.750 (0.700 to 0."),
        (
            0.8,
            "NOT shown to be better than tf-idf, 0.750 (0.700 to 0.800); the difference may be chance (95 % interval",
        ),
        (0.7, "NOT shown to be better than tf-idf"),
        (0.6, "WORSE by 15.0 points (95 % interval of the difference: -22.1 to -7.9) than tf-idf, 0.750"),
    ],
)
def test_the_best_floor_is_what_counts(model: float, expected: str) -> None:
    report = {"validation": measured(model), "floors": {"majority": measured(0.5), "tf-idf": measured(0.75)}}
    assert expected in headline(report)
    found = beside_best(report)
    assert found is not None
    assert (found.better, found.worse) == (model > 0.85, model < 0.65)


def test_a_difference_that_was_measured_row_by_row_is_the_one_that_is_told() -> None:
    floor = measured(0.75) | {"gain": 0.05, "gain_low": 0.01, "gain_high": 0.09}
    report = {"validation": measured(0.8), "floors": {"tf-idf": floor}}
    assert "better by 5.0 points (95 % interval of the difference: +1.0 to +9.0) than tf-idf" in headline(report)


@pytest.mark.parametrize(("hits", "certain"), [((56, 48), True), ((56, 54), False)])
def test_a_difference_is_told_from_chance_as_by_newcombe(hits: tuple[int, int], certain: bool) -> None:
    """Newcombe 1998, table II: 56 of 70 and 48 of 80 are 0.0524 to 0.3339 apart; Wilson's intervals overlap there."""

    def wilson(right: int, count: int) -> dict[str, float]:
        z, share = 1.959964, right / count
        middle = (share + z * z / (2 * count)) / (1 + z * z / count)
        half = z * (share * (1 - share) / count + z * z / (4 * count**2)) ** 0.5 / (1 + z * z / count)
        return {"accuracy": share, "accuracy_low": middle - half, "accuracy_high": middle + half, "rows": count}

    model, floor = wilson(hits[0], 70), wilson(hits[1], 80)
    assert model["accuracy_low"] < floor["accuracy_high"]
    said = headline({"validation": model, "floors": {"tf-idf": floor}})
    assert ("may be chance" in said) is not certain
    if certain:
        assert "95 % interval of the difference: +5.2 to +33.4" in said


def test_several_labels_are_told_as_decisions_and_as_collapsed_where_none_is_given() -> None:
    truth = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (10, 1))
    metrics = scores(np.full((20, 3), -1.0), truth, MULTI)
    report = {"validation": metrics, **confidence_report(np.full((20, 3), -1.0), truth, MULTI)}
    assert "of the yes-or-no decisions, one for each row and label," in trust(report)
    assert collapsed(metrics) == "gives no row any label"
    assert any("gives no row any label" in limit for limit in limits({"report": report}))
    assert not collapsed(scores(np.array([[1.0, -1, -1]] * 20), truth, MULTI))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_validation_part_chose_the_weights_or_did_not(keep: str) -> None:
    card: dict[str, Any] = {"report": {"validation": measured(0.9)}, "recipe": {"keep": keep}}
    assert any("chose the weights" in limit for limit in limits(card)) is (keep == "best")
    card["report"]["seeds"] = {"count": 2}
    assert any("chose the weights" in limit for limit in limits(card))


def test_of_errors_the_lower_is_better() -> None:
    floors = {"majority": measured(3.0, "rmse"), "tf-idf": measured(2.0, "rmse")}
    report = {"validation": measured(1.5, "rmse"), "floors": floors}
    said = "better by 0.500 (95 % interval of the difference: +0.429 to +0.571) than tf-idf"
    assert said in headline(report)


def test_names_of_starts() -> None:
    assert start_of("/home/x/.cache/hub/models--google-bert--bert-base-uncased/snapshots/abc") == (
        "google-bert/bert-base-uncased"
    )
    assert start_of("/home/x/runs/base") == "base"
    assert start_of("bert-mini") == "bert-mini"
