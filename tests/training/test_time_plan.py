"""How long a command takes: the plan before it starts, and what a time budget is spent on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchword as pw
from patchword.tasks.task import Task
from patchword.training import time_plan, tracking
from patchword.training.loop import Interrupted
from patchword.training.recipe import Recipe
from patchword.training.time_plan import StepTime, TimePlan
from patchword.training.tracking import duration

BASE: dict[str, Any] = {"steps": 2, "batch_size": 8, "max_length": 32, "vocab_size": 300, "lines": True, "quiet": True}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base checkpoint and labelled rows that a word gives away."""
    folder = tmp_path_factory.mktemp("time")
    rows = [{"text": f"{('red', 'blue')[i % 2]} parcel number {i}", "label": "ab"[i % 2]} for i in range(80)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "corpus.txt").write_text("\n".join(row["text"] for row in rows))
    pw.pretrain(folder / "corpus.txt", model="bert-tiny", out=folder / "base", **BASE)
    return folder


def plan(deadline: float | None, evaluation: float = 0.5, seconds: float = 0.1, **more: Any) -> TimePlan:
    recipe = Recipe(lr=1e-3, **(more or {"minutes": 1}))
    return TimePlan(recipe, StepTime(seconds, 512, 16), 320, evaluation, 0.5, 0.01, deadline)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (130, "2 min 10 s"), (12_000, "3 h 20 min")]
)
def test_a_duration_is_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(
    budget=st.floats(60, 3600),
    seeds=st.integers(1, 5),
    expected=st.floats(0.01, 1.0),
    measured=st.floats(0.01, 1.0),
    late=st.floats(0.0, 10.0),
)
def test_a_budget_is_spent_exactly(budget: float, seeds: int, expected: float, measured: float, late: float) -> None:
    """Whatever an evaluation was expected to take, what all seeds and the end take adds up to the budget."""
    now = 0.0
    clock = pytest.MonkeyPatch()
    clock.setattr(time_plan, "time", SimpleNamespace(monotonic=lambda: now))
    with clock.context():
        whole = plan(budget, expected)
        whole.seeds = seeds
        now = late  # loading and baselines
        for seed in range(seeds):
            allowed = whole.seconds_allowed(seeds - seed, 0.0)
            allowed(0.0)
            now += allowed(measured)  # known after the first evaluation
            now += whole.after_seed(seeds)
        assert now + whole.after_seeds(seeds) == pytest.approx(budget)
    clock.undo()


def test_a_resumed_seed_keeps_what_it_was_trained_for() -> None:
    now = time.monotonic()
    whole = plan(now + 100)
    assert whole.seconds_allowed(1, 40.0)(0.0) - whole.seconds_allowed(1, 0.0)(0.0) == pytest.approx(40, abs=0.1)


def test_as_many_seeds_are_trained_as_have_time() -> None:
    """One seed of 3 epochs of 320 rows in batches of 16 takes 60 steps of 0.1 s and 6 evaluations of 0.5 s: 9 s."""
    length = Recipe(lr=1e-3, epochs=3, evaluations=6)
    counts = []
    for seconds in (1, 20, 30, 60, 600):
        whole = plan(time.monotonic() + seconds)
        whole.fit_seeds(5, length)
        counts.append(whole.seeds)
        assert whole.seeds * 9 <= max(seconds, 9)
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (1, 5)


def test_the_plan_is_reported_before_the_start() -> None:
    whole = plan(None, epochs=3, evaluations=6)
    whole.seeds = 5
    sentence = whole.sentence()
    assert sentence.startswith("Plan: 5 seeds of about 60 steps, 0.1 s per step; about 58 s")
    assert "--seeds 1: about 13 s" in sentence


def test_a_short_budget_trains_fewer_seeds(base: Path, tmp_path: Path) -> None:
    """The default is 5 seeds on 80 labels; in 2.4 seconds there is time for one."""
    pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "run", minutes=0.04, quiet=True)
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (config["seeds"], config["fit_seeds"]) == (1, False)


def test_seeds_that_are_asked_for_are_trained(base: Path, tmp_path: Path) -> None:
    pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "run", minutes=0.02, seeds=2, quiet=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seeds"] == 2


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"]


def test_to_measure_a_step_changes_nothing(base: Path, tmp_path: Path) -> None:
    """A run that reports its plan has the losses of one that does not, to the bit."""
    for name, quiet in (("quiet", True), ("plan", False)):
        pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / name, steps=4, seeds=1, quiet=quiet)
    assert losses(tmp_path / "plan") == losses(tmp_path / "quiet")


def test_progress_is_reported_where_the_output_is_no_terminal(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(tracking.console, "width", 200)
    pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "run", steps=4, seeds=2)
    shown = capsys.readouterr().err
    for phase in ("Reading the data ...", "Evaluating baselines ...", "Plan: 3 runs", "fold 2 of 2: 100%", "s left"):
        assert phase in shown


def test_a_long_phase_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tracking, "LINE_SECONDS", 0.01)
    with tracking.working("Reading ...") as activity:
        activity.update("Tokenizing: 3 documents")
        time.sleep(0.2)
    assert "Tokenizing: 3 documents (0 s so far)" in capsys.readouterr().err
    with tracking.working("Reading ...", quiet=True):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_baselines_are_evaluated_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed takes them from the file, and a finished run has them in its report alone."""
    how: dict[str, Any] = {"steps": 6, "seeds": 1, "quiet": True, "checkpoint_steps": 2}
    whole = pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "whole", **how)
    with pytest.raises(Interrupted):
        pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "cut", stop_after=3, **how)
    assert (tmp_path / "cut" / "baselines.json").is_file()

    def evaluated(*args: Any) -> dict[str, Any]:
        raise AssertionError("the baselines were evaluated again")

    monkeypatch.setattr(Task, "baselines", evaluated)
    resumed = pw.resume(tmp_path / "cut", quiet=True)
    assert resumed.report["floors"] == whole.report["floors"]
    assert not (tmp_path / "cut" / "baselines.json").exists()


def test_an_evaluation_reports_rows_and_the_time_left(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pass ends with all rows done, and the share of the work never falls within a pass."""
    pw.finetune(base / "base", base / "train.jsonl", out=tmp_path / "run", steps=2, seeds=1, quiet=True)
    model = pw.load(tmp_path / "run")
    calls: list[tuple[int, int, float]] = []
    model.compute = replace(model.compute, batch_tokens=64, progress=lambda *call: calls.append(call))
    model.evaluate(base / "train.jsonl")
    assert len(calls) > 1
    assert calls[-1] == (80, 80, 1.0)
    assert calls == sorted(calls)

    now = 0.0
    monkeypatch.setattr(tracking, "time", SimpleNamespace(monotonic=lambda: now))
    activity = tracking.Activity("Evaluating ...")
    now = 10.0
    activity.rows(20, 80, 0.25)
    assert activity.text == "Evaluating ... 20 of 80 rows, about 30 s left"
    activity.rows(1, 80, 0.01)  # another pass
    assert activity.text == "Evaluating ... 1 of 80 rows"
