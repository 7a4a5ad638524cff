"""Several seeds: one run, exact in its parts, and what it tells of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

import patchword as pw
from patchword.data.sources import read_labelled
from patchword.tasks.calibration import believed, calibration_error, cross_fitted, fit_temperature
from patchword.tasks.labelled import folds_of
from patchword.tasks.labels import SINGLE, LabelSet
from patchword.tasks.metrics import scores
from patchword.training import execute, seeds
from patchword.training.loop import Interrupted
from patchword.training.run_files import is_own

HOW: dict[str, Any] = {"epochs": 3, "batch_size": 8, "lr": 1e-3, "precision": "fp32", "device": "cpu", "quiet": True}
CHOSEN = HOW | {"keep": "best"}
"""An evaluation chooses the weights: rows are held back for all seeds, and there are no folds."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    words = ["red", "green", "blue", "late", "early", "paid", "open"]
    random = np.random.default_rng(0)
    (folder / "notes.txt").write_text("\n".join(" ".join(random.choice(words, 30)) for _ in range(60)))
    pw.pretrain(
        folder / "notes.txt", model="bert-tiny", lines=True, steps=2, max_length=32, out=folder / "run", quiet=True
    )
    rows = [{"text": " ".join(random.choice(words, 6)), "label": "ab"[i % 2]} for i in range(100)]
    for row in rows:
        row["text"] += " late paid" if row["label"] == "a" else " early open"
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:70]))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[70:]))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(pw.load(folder).model.tensors())


def test_few_labels_are_learnt_five_times_and_many_once(base: Path, tmp_path: Path) -> None:
    pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "few", **HOW | {"epochs": None, "steps": 1})
    assert json.loads((tmp_path / "few" / "run.json").read_text())["seeds"] == 5
    many = tmp_path / "many.jsonl"
    many.write_text((base / "train.jsonl").read_text() * 29)  # 2,030 rows
    pw.finetune(base / "run", many, out=tmp_path / "many", **HOW | {"epochs": None, "steps": 1})
    assert json.loads((tmp_path / "many" / "run.json").read_text())["seeds"] == 1


def test_a_seed_among_several_is_the_run_with_that_seed(base: Path, tmp_path: Path) -> None:
    """Its curve, line by line: seeds share nothing but the rows that are held back."""
    pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "three", seeds=3, **CHOSEN)
    pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "first", seeds=1, **CHOSEN)

    def losses(path: Path) -> list[tuple[str, float]]:
        lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
        return [(line["kind"], line["loss"]) for line in lines]

    assert losses(tmp_path / "three" / "seeds" / "0") == losses(tmp_path / "first")
    assert losses(tmp_path / "three" / "seeds" / "1") != losses(tmp_path / "first")


@pytest.mark.parametrize(("how", "cuts"), [(HOW, [4, "last", 7]), (CHOSEN, [4, 7])])
def test_a_kill_between_and_within_runs_changes_nothing(
    base: Path, tmp_path: Path, how: dict[str, Any], cuts: list[Any]
) -> None:
    how = how | {"seeds": 2, "checkpoint_steps": 2, "test": base / "test.jsonl"}
    whole = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "whole", **how)
    last = json.loads((tmp_path / "whole" / "seeds" / "0" / "result.json").read_text())["step"]
    with pytest.raises(Interrupted):
        pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "cut", stop_after=cuts[0], **how)
    for cut in cuts[1:]:
        with pytest.raises(Interrupted):
            pw.resume(tmp_path / "cut", quiet=True, stop_after=last if cut == "last" else cut)
    again = pw.resume(tmp_path / "cut", quiet=True)
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "cut").items())
    for key in ("validation", "test", "coverage", "calibration", "floors", "test_floors", "suspects"):
        assert again.report[key] == whole.report[key]


def test_folds_are_predicted_by_models_without_them_and_the_kept_one_has_all_rows(base: Path, tmp_path: Path) -> None:
    """Against runs of one fold each with its rows as validation set, and one with all rows."""
    how = {"seeds": 3, "seed": 5, "test": base / "test.jsonl"}
    result = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "run", **how, **HOW)
    lines = (base / "train.jsonl").read_text().splitlines()
    assert result.report["validation"]["rows"] == len(lines) == 70
    told = result.report["cross_validation"]
    assert [run["seed"] for run in told["runs"]] == [5, 6, 7, 8]
    assert sum(run["validation"]["rows"] for run in told["runs"][:-1]) == 70
    labels = [json.loads(line)["label"] for line in lines]
    folds, _ = folds_of(
        read_labelled(base / "train.jsonl"), 3, 5, LabelSet.find(labels, "label", None), classes(labels)
    )
    fold = 1
    for name, some in (("learn", folds != fold), ("judge", folds == fold)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{lines[i]}\n" for i in np.flatnonzero(some)))
    alone = pw.finetune(
        base / "run", tmp_path / "learn.jsonl", validation=tmp_path / "judge.jsonl", out=tmp_path / "fold",
        seeds=1, seed=5 + fold, **HOW | {"keep": "last"},
    )  # fmt: skip
    assert told["runs"][fold]["validation"]["accuracy"] == alone.report["validation"]["accuracy"]
    whole = pw.finetune(
        base / "run", base / "train.jsonl", validation=base / "test.jsonl", out=tmp_path / "all", seeds=1, seed=8,
        **HOW | {"keep": "last"},
    )  # fmt: skip
    kept, expected = weights(tmp_path / "run"), weights(tmp_path / "all")
    body = [name for name in kept if name.startswith("trunk.")]
    assert body
    assert all(torch.equal(kept[name], expected[name]) for name in body)
    assert result.report["test"]["accuracy"] == whole.report["validation"]["accuracy"]


def test_a_model_on_all_rows_that_collapses_by_chance_is_trained_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next seed, also where the command was killed in between; not where all folds collapse too."""
    how = {"seeds": 2, "seed": 5, "out": tmp_path / "run", **HOW}

    def interrupted(run: object, where: object, number: int) -> bool:
        if number == 2:
            raise Interrupted
        return False

    monkeypatch.setattr(seeds.SeedResult, "collapsed", property(lambda self: self.seed == 7))
    with monkeypatch.context() as patch:
        patch.setattr(execute, "set_aside", interrupted)
        with pytest.raises(Interrupted):
            pw.finetune(base / "run", base / "train.jsonl", **how)
    result = pw.resume(tmp_path / "run", quiet=True)
    told = result.report["cross_validation"]
    assert ([run["seed"] for run in told["runs"]], told["kept_collapsed"]) == ([5, 6, 8], False)
    assert [run["seed"] for run in told["retries"]] == [7]
    assert result.report["steps"] == sum(run["step"] for run in told["runs"] + told["retries"])
    written = [
        path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()
    ]
    assert all(map(is_own, written)), "--overwrite removes what a run has written"
    again = pw.finetune(base / "run", base / "train.jsonl", **how | {"out": tmp_path / "whole"})
    assert again.report["validation"] == result.report["validation"]
    monkeypatch.setattr(seeds.SeedResult, "collapsed", property(lambda self: self.seed >= 6))
    result = pw.finetune(base / "run", base / "train.jsonl", **how | {"out": tmp_path / "limit"})
    told = result.report["cross_validation"]
    assert (told["kept_collapsed"], len(told["retries"])) == (True, seeds.RETRIES)
    monkeypatch.setattr(seeds.SeedResult, "collapsed", property(lambda self: True))
    result = pw.finetune(base / "run", base / "train.jsonl", **how | {"out": tmp_path / "all"})
    assert result.report["cross_validation"]["retries"] == []


def test_the_temperature_is_fitted_on_all_out_of_fold_predictions(base: Path, tmp_path: Path) -> None:
    result = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "run", seeds=2, **HOW)
    labels = [json.loads(line)["label"] for line in (base / "train.jsonl").read_text().splitlines()]
    folds, _ = folds_of(
        read_labelled(base / "train.jsonl"), 2, 0, LabelSet.find(labels, "label", None), classes(labels)
    )
    logits = np.zeros((70, 2), np.float32)
    for fold in range(2):
        logits[folds == fold] = load_file(tmp_path / "run" / "seeds" / str(fold) / "out_of_fold.safetensors")[
            "out_of_fold"
        ].numpy()
    calibration = result.report["calibration"]
    assert (calibration["rows"], calibration["fitted_on"]) == (70, "cross-validation")
    assert calibration["temperature"] == pytest.approx(fit_temperature(logits, classes(labels), SINGLE))
    assert result.report["validation"]["accuracy"] == pytest.approx((logits.argmax(1) == classes(labels)).mean())
    # The error that is reported is that of temperatures which the row had no part in.
    scaled = cross_fitted(logits, classes(labels), SINGLE, folds)
    assert result.report["calibration_error"] == calibration_error(*believed(scaled, classes(labels), SINGLE))


def classes(labels: list[str]) -> np.ndarray:
    return np.array([sorted(set(labels)).index(label) for label in labels])


def test_what_is_told_of_the_seeds_is_their_mean_and_spread(base: Path, tmp_path: Path) -> None:
    result = pw.finetune(
        base / "run", base / "train.jsonl", test=base / "test.jsonl", out=tmp_path / "run", seeds=3, **CHOSEN
    )
    told = result.report["seeds"]
    values = [run["validation"]["loss"] for run in told["runs"]]
    ends = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert told["validation"]["loss"]["mean"] == pytest.approx(np.mean(values))
    assert (told["validation"]["loss"]["low"], told["validation"]["loss"]["high"]) == pytest.approx(ends)
    assert told["validation"]["loss"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert told["test"].keys() == told["validation"].keys()
    assert len({value["min"] for value in told["test"].values()}) > 1
    assert not list((tmp_path / "run").glob("**/best-*"))  # only the chosen weights stay


def test_the_mean_of_weights_is_kept_only_where_validation_prefers_it(base: Path, tmp_path: Path) -> None:
    result = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "run", seeds=3, **CHOSEN)
    told = result.report["seeds"]
    best = max(run["validation"]["accuracy"] for run in told["runs"])
    assert result.report["validation"]["accuracy"] >= best


def test_a_mean_of_weights_is_their_mean() -> None:
    sets = [{"w": torch.randn(3), "count": torch.tensor(4)} for _ in range(4)]
    mean = sets[0]
    for number, other in enumerate(sets[1:], 1):
        mean = seeds._mean(mean, other, number)
    torch.testing.assert_close(mean["w"], torch.stack([s["w"] for s in sets]).mean(0))
    assert mean["count"] == 4


def test_the_interval_of_a_share_stays_within_0_and_1() -> None:
    told = seeds.spread([{"accuracy": 0.6, "loss": 0.1}, {"accuracy": 0.9, "loss": 2.0}])
    assert (told["accuracy"]["low"], told["accuracy"]["high"]) == (0.0, 1.0)
    assert told["loss"]["low"] < 0.0 < 1.0 < told["loss"]["high"]


def test_a_seed_that_gives_every_row_one_class_is_told() -> None:
    targets = np.arange(10) % 2
    one_class = scores(np.tile([1.0, 0.0], (10, 1)), targets, "single_label_classification")
    both = scores(np.eye(2)[targets], targets, "single_label_classification")
    assert [seeds.SeedResult(0, 1, 1, 1, 1.0, metrics).collapsed for metrics in (one_class, both)] == [True, False]


def test_the_temperature_is_in_the_folder_and_changes_no_prediction(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "run", seeds=1, **HOW)
    assert re.fullmatch(r"\d+\.\d+", str(result.report["calibration"]["temperature"]))
    texts = ["red late paid", "blue early open"]
    ours = pw.load(tmp_path / "run").predict(texts)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    inputs = AutoTokenizer.from_pretrained(tmp_path / "run")(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        chances = theirs(**inputs).logits.softmax(-1)
    assert [row["probabilities"]["a"] for row in ours] == pytest.approx(chances[:, 0].tolist(), abs=1e-5)


def test_a_time_is_for_all_seeds_together(base: Path, tmp_path: Path) -> None:
    how = HOW | {"epochs": None, "minutes": 0.02, "seeds": 2}
    report = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "run", **how).report
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (config["recipe"]["minutes"], config["seeds"]) == (0.02, 2)
    assert report["seconds"] < 1.2 + 2 * 0.2  # what the training took; the rest of the command counts, too
