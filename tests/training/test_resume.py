"""Resume is exact: a run that is killed, again and again, ends bit for bit as one that is not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from patchword.errors import UserError
from patchword.training.loop import Interrupted
from patchword.training.recipes import default_recipe
from patchword.training.stages import finetune, pretrain, resume
from patchword.training.tracking import Tracker, read_metrics

STEPS = 24
PRETRAIN: dict[str, Any] = {
    "model": "bert-tiny",
    "lines": True,
    "vocab_size": 400,
    "max_length": 16,
    "steps": STEPS,
    "batch_size": 32,
    "micro_tokens": 256,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "precision": "fp32",
    "device": "cpu",
    "evaluations": 4,
    "checkpoint_steps": 3,
    "quiet": True,
}


def learnt(out: Path) -> list[dict[str, Any]]:
    """What `metrics.jsonl` says, but for how long it took."""
    kept = ("kind", "step", "loss", "lr", "tokens", "accuracy", "macro_f1")
    return [{key: line[key] for key in kept if key in line} for line in read_metrics(out)]


def assert_same_run(one: Path, other: Path) -> None:
    assert learnt(one) == learnt(other)
    weights = [load_file(out / "model.safetensors") for out in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    cards = [json.loads((out / "patchword.json").read_text())["report"] for out in (one, other)]
    for name in ("validation", "steps", "best_step", "tokens"):
        assert cards[0][name] == cards[1][name]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model gains nothing from more, and suffers from others on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So little text that an epoch is two thirds of a run."""
    path = tmp_path_factory.mktemp("data") / "corpus.txt"
    path.write_text("\n".join(corpus[:200]), "utf-8")
    return path


# ------------------------------------------------------------------------------------------------ stops


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain(data, out=out, **PRETRAIN)
    return out


def test_the_run_crosses_an_epoch(whole: Path) -> None:
    """Else the tests here would show less than they say. Two special tokens frame every 14 of the text."""
    epoch = json.loads((whole / "patchword.json").read_text())["data"]["tokens"] * 16 / 14
    assert read_metrics(whole)[-1]["step"] == STEPS
    assert 1.2 * epoch < learnt(whole)[-2]["tokens"] < 1.9 * epoch


def test_stops_at_every_kind_of_step_change_nothing(whole: Path, data: Path, tmp_path: Path) -> None:
    """Before the first checkpoint is due, at an evaluation, between two checkpoints, and at the last step."""
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        pretrain(data, out=out, stop_after=1, **PRETRAIN)
    for stop in (6, 20, STEPS):
        with pytest.raises(Interrupted):
            resume(out, quiet=True, stop_after=stop)
        assert learnt(out)[-1]["step"] == stop
    resume(out, quiet=True)
    assert_same_run(whole, out)


def test_a_run_that_never_came_to_a_checkpoint_begins_again(whole: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        pretrain(data, out=out, stop_after=2, **PRETRAIN)
    for path in (out / "checkpoints").glob("step-*/*"):
        path.unlink()
    resume(out, quiet=True)
    assert_same_run(whole, out)


def test_the_same_settings_make_the_same_run(whole: Path, data: Path, tmp_path: Path) -> None:
    pretrain(data, out=tmp_path / "again", **PRETRAIN)
    assert_same_run(whole, tmp_path / "again")
    pretrain(data, out=tmp_path / "other", **{**PRETRAIN, "seed": 1, "steps": 2})
    assert learnt(tmp_path / "other")[0]["loss"] != learnt(whole)[0]["loss"]


def test_lines_that_a_kill_cut_short_are_written_anew(whole: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        pretrain(data, out=out, stop_after=10, **PRETRAIN)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 11, "loss": 9.9, "lr": 0.1, "tokens": 1}\n{"kind": "train", "st')
    resume(out, quiet=True)
    assert_same_run(whole, out)


def test_fine_tuning_resumes_exactly_too(whole: Path, corpus: list[str], tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    rows = [{"text": text, "label": "ab"[len(text) % 2]} for text in corpus[:120]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {
        "seeds": 1,
        "epochs": 2,
        "batch_size": 8,
        "dropout": 0.1,
        "evaluations": 4,
        "checkpoint_steps": 2,
        "quiet": True,
    }
    finetune(whole, table, out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        finetune(whole, table, out=tmp_path / "cut", stop_after=3, **settings)
    for stop in (13, 17, 20):  # an epoch is 14 steps
        with pytest.raises(Interrupted):
            resume(tmp_path / "cut", quiet=True, stop_after=stop)
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert len([line for line in learnt(tmp_path / "cut") if line["kind"] == "train"]) == 28


def test_the_modern_recipe_resumes_exactly_too(data: Path, tmp_path: Path) -> None:
    """Muon, batches and texts that grow over an epoch's end, a mean of the weights; the workers change on the way."""
    settings: dict[str, Any] = {
        **PRETRAIN,
        "model": "patchword-tiny",
        "batch_ramp": 0.6,
        "optimizer": "muon",
        "length_ramp": 0.8,
        "ema": 0.3,
        "batch_tokens": 700,
        "batch_size": None,
    }
    pretrain(data, out=tmp_path / "whole", **settings)
    sizes = [line["tokens"] for line in learnt(tmp_path / "whole") if line["kind"] == "train"]
    assert sizes[0] < 0.4 * (sizes[-1] - sizes[-2])
    cut = tmp_path / "cut"
    with pytest.raises(Interrupted):
        pretrain(data, out=cut, stop_after=2, **settings)
    for number, stop in enumerate((7, 17)):
        _set_workers(cut, number + 1)
        with pytest.raises(Interrupted):
            resume(cut, quiet=True, stop_after=stop)
    _set_workers(cut, 0)
    resume(cut, quiet=True)
    assert_same_run(tmp_path / "whole", cut)
    recipe = json.loads((cut / "run.json").read_text())["recipe"]
    assert (recipe["optimizer"], recipe["mask_share"], recipe["schedule"]) == ("muon", 0.3, "wsd")


@pytest.mark.parametrize(
    ("model", "vocab_size"), [("gpt2-tiny", 400), ("mixtral-tiny", 700), ("t5-tiny", 700), ("bart-tiny", 400)]
)
def test_models_that_write_resume_exactly_too(model: str, vocab_size: int, data: Path, tmp_path: Path) -> None:
    """Next words, experts, gaps, and spoilt texts: what is hidden is drawn anew in the second epoch."""
    settings = {**PRETRAIN, "model": model, "vocab_size": vocab_size, "steps": 9, "batch_size": 64}
    pretrain(data, out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        pretrain(data, out=tmp_path / "cut", stop_after=2, **settings)
    with pytest.raises(Interrupted):
        resume(tmp_path / "cut", quiet=True, stop_after=7)
    (tmp_path / "cut" / "checkpoints" / "step-00000007" / "state.json").unlink()  # a kill before it was whole
    resume(tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


# ------------------------------------------------------------------------------------------------ kills


def work_until_killed(work: Callable[[], object], step: int, share: float) -> None:
    """A signal that can not be caught comes a share of a step's time after a step, whatever is being done then."""
    torch.set_num_threads(1)
    real, times = Tracker.step, [time.monotonic()]

    def watched(tracker: Tracker, progress: float, values: Mapping[str, float]) -> None:
        real(tracker, progress, values)
        times.append(time.monotonic())
        if values["step"] == step:
            fastest = min(after - before for before, after in pairwise(times))
            threading.Timer(share * fastest, os.kill, (os.getpid(), signal.SIGKILL)).start()

    with patch.object(Tracker, "step", watched):
        work()


def run_apart(work: Callable[[], object], step: int = -1, share: float = 0.0) -> int | None:
    """In a process of its own, a fork of one that has imported all there is, so that it begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["patchword.training.stages", "torch.utils.tensorboard", "matplotlib.figure"])
    process = context.Process(target=work_until_killed, args=(work, step, share))
    process.start()
    process.join(200)
    return process.exitcode


def test_three_kills_at_random_steps_change_nothing(whole: Path, data: Path, tmp_path: Path) -> None:
    """Across an epoch boundary, and with other numbers of workers."""
    seed = time.time_ns()
    chance = random.Random(seed)
    cut = tmp_path / "cut"
    targets = [chance.randint(low, low + 5) for low in (2, 8, 14)]
    for number, target in enumerate(targets):
        if number:
            _set_workers(cut, number)
        work = partial(resume, cut, quiet=True) if number else partial(pretrain, data, out=cut, **PRETRAIN)
        ended = run_apart(work, target, chance.random())
        assert ended == -signal.SIGKILL, f"seed {seed}: it ended by itself, with {ended}"
        assert learnt(cut)[-1]["step"] >= target
    _set_workers(cut, 3)
    assert run_apart(partial(resume, cut, quiet=True)) == 0, f"seed {seed}, killed at about {targets}"
    assert_same_run(whole, cut)


def _set_workers(out: Path, number: int) -> None:
    settings = json.loads((out / "run.json").read_text())
    settings["recipe"]["workers"] = number
    (out / "run.json").write_text(json.dumps(settings))


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("gpt2-tiny", {"mask_share": 0.3}, "mask_share: causal_lm has no use for it"),
        ("vit-mae-tiny", {"length_ramp": 0.3}, "length_ramp: masked_image has no use for it"),
        ("bert-tiny", {"mask_share": 1.5}, "mask_share.*less than 1"),
        ("bert-tiny", {"optimizer": "sgd"}, "optimizer"),
        ("bert-tiny", {"ema": 0.0}, "ema"),
    ],
)
def test_settings_that_say_nothing_are_refused(
    model: str, given: dict[str, Any], said: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        pretrain(data, out=tmp_path / "run", **{**PRETRAIN, "model": model, **given})


def test_what_a_recipe_has_anyway_can_be_given_whatever_the_task_has_no_use_for(data: Path, tmp_path: Path) -> None:
    recipe = default_recipe("pretrain", "masked_image", 128, 100).model_dump(include={"mask_share", "length_ramp"})
    with pytest.raises(UserError, match="reads images"):  # the data are wrong, the recipe is not
        pretrain(data, model="vit-mae-tiny", out=tmp_path / "run", **recipe)


def test_a_finished_run_has_nothing_to_resume(whole: Path) -> None:
    with pytest.raises(UserError, match="is finished"):
        resume(whole)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run: it has no run\.json"):
        resume(tmp_path)


def test_other_data_than_at_the_beginning_are_refused(corpus: list[str], tmp_path: Path) -> None:
    mine = tmp_path / "corpus.txt"
    mine.write_text("\n".join(corpus))
    with pytest.raises(Interrupted):
        pretrain(mine, out=tmp_path / "run", stop_after=2, **PRETRAIN)
    mine.write_text("\n".join(reversed(corpus)))
    with pytest.raises(UserError, match="data have changed"):
        resume(tmp_path / "run")


def test_another_run_is_not_written_over(whole: Path, data: Path) -> None:
    with pytest.raises(UserError, match=r"holds another run.*resume.*--overwrite"):
        pretrain(data, out=whole, **PRETRAIN)
