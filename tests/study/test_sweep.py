"""A sweep: the default first, pruned like the median rule says, the same whether it was stopped or not."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import patchword as pw
from patchword.cli.sweep import show, verdict
from patchword.study import sweep as module
from patchword.study.space import Space
from patchword.study.trial import Trial, ended, make
from patchword.training.loop import Interrupted
from patchword.training.outcome import Diverged
from patchword.training.stages import finetune_settings

HOW: dict[str, Any] = {"max_length": 16, "precision": "fp32", "device": "cpu", "quiet": True}


@pytest.fixture(scope="module", autouse=True)
def two_at_random() -> Iterator[None]:
    """The search itself chooses from the third trial on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STARTUP", 2)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    words = ["red", "green", "blue", "late", "early", "paid", "open"]
    random = np.random.default_rng(0)
    (folder / "notes.txt").write_text("\n".join(" ".join(random.choice(words, 12)) for _ in range(60)))
    pw.pretrain(
        folder / "notes.txt", model="bert-tiny", lines=True, steps=2, max_length=16, out=folder / "run", quiet=True
    )
    ends = {"a": " late paid", "b": " early open"}
    rows = [{"text": " ".join(random.choice(words, 4)) + ends["ab"[i % 2]], "label": "ab"[i % 2]} for i in range(40)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> pw.Sweep:
    """A sweep of four trials that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    return pw.sweep(base / "run", base / "train.jsonl", out=out, trials=4, steps=3, **HOW)


def outcomes(found: pw.Sweep) -> list[tuple[Any, ...]]:
    return [(dict(trial.settings), trial.outcome, dict(trial.metrics), trial.score) for trial in found.trials]


def test_the_first_trial_is_the_default_recipe(base: Path, whole: pw.Sweep, tmp_path: Path) -> None:
    assert whole.default.settings == {}
    plain = pw.finetune(base / "run", base / "train.jsonl", out=tmp_path / "plain", seeds=1, steps=3, **HOW)
    assert whole.default.metrics["accuracy"] == plain.report["validation"]["accuracy"]
    trial, alone = (
        json.loads((folder / "run.json").read_text()) for folder in (whole.folder / "trials/0", plain.folder)
    )
    assert trial == alone


def test_the_best_trial_is_kept_as_a_model_and_no_other_weights_are(whole: pw.Sweep) -> None:
    assert whole.best.score == max(trial.score or 0 for trial in whole.trials if trial.outcome == "done")
    assert list(whole.folder.glob("trials/**/*.safetensors")) == []
    card = json.loads((whole.folder / "best" / "patchword.json").read_text())
    assert card["report"]["validation"]["accuracy"] == whole.best.metrics["accuracy"]
    assert pw.load(whole.folder / "best").predict(["red late paid"])[0]["label"] in "ab"


def test_the_command_is_that_of_the_best_settings(base: Path, whole: pw.Sweep) -> None:
    words = shlex.split(whole.command)
    assert words[:4] == ["patchword", "finetune", str(base / "run"), str(base / "train.jsonl")]
    options = dict(zip(words[4::2], words[5::2], strict=True))
    expected = {f"--{name.replace('_', '-')}": str(value) for name, value in whole.best.settings.items()}
    assert options == expected | {
        "--max-length": "16",
        "--precision": "fp32",
        "--device": "cpu",
        "--steps": "3",
        "--out": "runs/tuned",
    }


def test_what_is_shown(whole: pw.Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    show(whole)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == whole.command
    assert sum("default" in line and f"{whole.default.score:.4f}" in line for line in lines) >= 1
    for trial in whole.trials[1:]:
        assert any(line.startswith(f"│ {trial.number:>7} │") for line in lines)


def test_a_sweep_that_was_killed_goes_on_as_if_it_had_not_been(
    base: Path, whole: pw.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def third_fails(study: optuna.Study, *more: Any) -> None:
        if len(ended(study)) == 2:
            raise KeyboardInterrupt
        make(study, *more)

    def go_on() -> pw.Sweep:
        return pw.sweep(base / "run", base / "train.jsonl", out=tmp_path / "cut", trials=4, steps=3, **HOW)

    with monkeypatch.context() as patch:
        patch.setattr(module, "make", third_fails)
        with pytest.raises(KeyboardInterrupt):
            go_on()
    found = go_on()
    assert outcomes(found) == outcomes(whole)
    assert [trial.number for trial in found.trials] == [0, 1, 3, 4]  # 2 was killed
    assert outcomes(go_on()) == outcomes(whole)  # there is nothing left to do


def test_an_interrupted_trial_is_made_again(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(*args: Any, **how: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(module, "finetune", once)
        with pytest.raises(Interrupted):
            pw.sweep(base / "run", base / "train.jsonl", out=tmp_path / "out", trials=1, steps=2, **HOW)
    left = tmp_path / "out" / "trials" / "0" / "checkpoints"
    left.mkdir(parents=True)
    found = pw.sweep(base / "run", base / "train.jsonl", out=tmp_path / "out", trials=1, steps=2, **HOW)
    assert not left.exists()
    assert [(trial.number, dict(trial.settings)) for trial in found.trials] == [(1, {})]


def _scripted(scores: list[list[float]]) -> tuple[Any, list[int]]:
    """A fine-tuning that gives these scores in validation, and how many of them each run came to give."""
    looked: list[int] = []

    def run(*args: Any, out: Path, watch: Any, **settings: Any) -> None:
        out.mkdir(parents=True)
        looked.append(0)
        for number, score in enumerate(scores[len(looked) - 1], 1):
            looked[-1] = number
            watch(number, {"accuracy": score, "loss": 1 - score}, score)
        if not scores[len(looked) - 1]:
            raise Diverged("The loss is no number any more. And so on.")

    return run, looked


def test_a_trial_below_the_median_is_ended_and_a_broken_one_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [[0.5, 0.6, 0.7, 0.8], [0.5, 0.65, 0.7, 0.9], [0.5, 0.7, 0.7, 0.7], [0.5, 0.6, 0.7, 0.85]]
    # The median at the second evaluation is 0.625; what the fifth reaches before it does not save or end it.
    run, looked = _scripted([*good, [0.1, 0.62, 0.99, 0.99], [], [0.1, 0.63, 0.75, 0.95]])
    monkeypatch.setattr(module, "finetune", run)
    found = pw.sweep(base / "run", base / "train.jsonl", out=tmp_path / "out", trials=7, **HOW)
    assert looked == [4, 4, 4, 4, 2, 0, 4]
    assert [trial.outcome for trial in found.trials] == ["done"] * 4 + ["pruned", "failed", "done"]
    assert found.best.number == 6
    assert found.best.metric == "accuracy"
    assert found.trials[5].problem == "The loss is no number any more"
    assert "within 0.1500 of the best of 7 trials (0.9500)" in verdict(found)[0]


def test_a_setting_that_is_given_is_not_searched(base: Path) -> None:
    run = finetune_settings(base / "run", base / "train.jsonl", seeds=1, lr=1e-3)
    searched = Space.around(run, {"lr"}).distributions
    assert set(searched) == {"epochs", "tune", "batch_size", "dropout", "head_lr", "layer_decay"}
    given = {"steps": 3, "dropout": 0.2}
    run = finetune_settings(base / "run", base / "train.jsonl", seeds=1, **given)
    assert set(Space.around(run, given).distributions) == {"lr", "tune", "batch_size", "head_lr", "layer_decay"}


def test_the_learning_rate_is_that_of_what_learns(base: Path) -> None:
    run = finetune_settings(base / "run", base / "train.jsonl", seeds=1)
    lora = finetune_settings(base / "run", base / "train.jsonl", seeds=1, tune="lora")
    space = Space.around(run, ())
    assert space.settings(space.default) == {}
    expected = {"tune": "lora", "lr": pytest.approx(lora.recipe.lr), "head_lr": lora.recipe.head_lr}
    assert space.settings({**space.default, "tune": "lora"}) == expected
    head = space.settings({**space.default, "tune": "head", "layer_decay": 0.8})
    assert set(head) == {"tune", "lr"}


def test_what_a_model_has_not_is_not_searched() -> None:
    """A convolutional network has no linear layers to adapt; the scores of words have no weights of their own."""
    from patchword.study.space import _ways
    from patchword.training.recipe import Recipe
    from patchword.training.run import RunConfig

    recipe = Recipe(steps=1, lr=1e-3)
    ways = {
        task: _ways(RunConfig(stage="finetune", start=start, task=task, data=(), recipe=recipe))
        for start, task in [("resnet-18", "image_classification"), ("gpt2-tiny", "summarization")]
    }
    assert ways == {"image_classification": ["all", "head"], "summarization": ["all", "lora"]}


def test_what_can_not_be_is_said(base: Path, whole: pw.Sweep, tmp_path: Path) -> None:
    start, data = base / "run", base / "train.jsonl"
    with pytest.raises(pw.UserError, match=r"holds a sweep that began otherwise \(max_length\)"):
        pw.sweep(start, data, out=whole.folder, trials=4, steps=3, **HOW | {"max_length": 12})
    with pytest.raises(pw.UserError, match="holds no sweep"):
        pw.sweep(start, data, out=base, **HOW)
    with pytest.raises(pw.UserError, match=r"test: not in a sweep.*afterwards"):
        pw.sweep(start, data, out=tmp_path, test=data, **HOW)
    with pytest.raises(pw.UserError, match="at least one trial"):
        pw.sweep(start, data, out=tmp_path, trials=0, **HOW)


def test_the_verdict_says_what_chance_does() -> None:
    def trial(number: int, accuracy: float) -> Trial:
        metrics = {"accuracy": accuracy, "accuracy_low": accuracy - 0.04, "accuracy_high": accuracy + 0.04}
        return Trial(number, {}, "done", "accuracy", metrics, accuracy, 1.0, None)

    def told(best: float) -> str:
        trials = (trial(0, 0.8), trial(1, best))
        return " ".join(verdict(pw.Sweep(Path(), trials, trials[best > 0.8], "")))

    assert "none of 2 trials is better" in told(0.7)
    assert "up to 0.0400 by chance (95 %): the difference is not more" in told(0.83)
    assert "up to 0.0400 by chance (95 %): the difference is more" in told(0.85)
