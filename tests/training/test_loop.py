"""The loop: gradients do not depend on how a batch is cut, and what goes wrong is told with the work saved."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from patchword.data.loader import Batch, Examples, Position
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, families, preset
from patchword.tasks.causal_lm import CausalExamples, CausalLM
from patchword.tasks.denoising import Denoising, DenoisingExamples
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet
from patchword.tasks.masked_lm import MaskedExamples, MaskedLM
from patchword.tasks.span_corruption import SpanCorruption, SpanExamples
from patchword.tasks.task import Compute, Prepared, Task
from patchword.tasks.text_classification import TextClassification, TextExamples
from patchword.training import checkpoint as checkpoint_module
from patchword.training import loop as loop_module
from patchword.training.checkpoint import TrainState, latest
from patchword.training.loop import Interrupted, step, train
from patchword.training.optimizer import make_optimizer
from patchword.training.outcome import Diverged, reads_late
from patchword.training.recipe import Recipe
from patchword.training.tracking import Tracker, read_metrics

TASKS = ["masked_lm", SINGLE, MULTI, REGRESSION]
WRITING = {
    "gpt2": (CausalLM, CausalExamples),
    "t5": (SpanCorruption, SpanExamples),
    "bart": (Denoising, DenoisingExamples),
}


def build(task: Task, tokenizer: Tokenizer, dropout: float = 0.0) -> Model:
    torch.manual_seed(0)
    family = families()["bert"]
    config = family.config(
        width=32,
        depth=2,
        heads=4,
        hidden=64,
        vocab_size=tokenizer.vocab_size,
        max_length=128,
        dropout=dropout,
        attention_dropout=dropout,
        init_std=0.2,
    )
    return Model(family, config, task.way_out, task.labels, task.problem)


def prepared(kind: str, corpus: list[str], tokenizer: Tokenizer, rows: int = 60) -> Prepared:
    """Documents of very unequal lengths, and random targets."""
    if kind == "masked_lm":
        examples: Examples = MaskedExamples(Sequences.from_arrays(tokenizer.encode(corpus[:rows])), tokenizer)
        return Prepared(MaskedLM(tokenizer, np.ones(tokenizer.vocab_size)), examples, examples)
    random = np.random.default_rng(0)
    names = ("a", "b", "c") if kind != REGRESSION else ("price",)
    targets = {
        SINGLE: random.integers(3, size=rows),
        MULTI: (random.random((rows, 3)) < 0.4).astype(np.float32),
        REGRESSION: random.normal(size=(rows, 1)).astype(np.float32),
    }[kind]
    examples = TextExamples(corpus[:rows], tokenizer, 128, targets)
    return Prepared(TextClassification(LabelSet(names, kind)), examples, examples)


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def run(
    data: Prepared, recipe: Recipe, tokenizer: Tokenizer, out: Path | None, state: TrainState | None = None, **more: Any
) -> TrainState:
    """`train`, into a folder if there is one."""
    if state is None:
        model = build(data.task, tokenizer)
        state = TrainState(model, make_optimizer(model, recipe))
    with Tracker(out, state.step, quiet=True) as tracker:
        train(state, data, recipe, Compute(), tracker, out / "checkpoints" if out else None, 0, **more)
    return state


def lines(out: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(out) if line["kind"] == kind]


# ------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("micro_tokens", [1, 90, 200, 700])
@pytest.mark.parametrize("kind", TASKS)
def test_micro_batches_have_the_gradient_of_one_batch(
    kind: str, micro_tokens: int, corpus: list[str], tokenizer: Tokenizer
) -> None:
    """Of the mean over *all* labels, however unequally the parts share them: by autograd on the whole, at once."""
    data = prepared(kind, corpus, tokenizer)
    model = build(data.task, tokenizer)
    batch = data.train.batch(np.arange(40), (0, 0))
    parts = batch.split(micro_tokens)
    assert len(parts) > 1
    assert kind != "masked_lm" or len({part.labels for part in parts}) > 1
    mean = data.task.loss(model, batch) / batch.labels
    mean.backward()
    expected = gradients(model)
    model.zero_grad()

    # Plain gradient descent at a rate of 1 moves each weight by its gradient.
    before = {name: p.detach().double() for name, p in model.named_parameters()}
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.0))
    recipe = Recipe(steps=1, lr=1.0, clip=1e9, micro_tokens=micro_tokens)
    loss = step(state, data.task, batch, recipe, Compute(), 1.0).loss()
    assert abs(loss - mean.item()) <= 1e-5
    assert expected.keys() == before.keys()
    for name, parameter in model.named_parameters():
        assert (before[name] - parameter.detach().double() - expected[name]).abs().max() <= 1e-5, name
    assert not gradients(model)


@pytest.mark.parametrize("micro_tokens", [1, 90, 400])
@pytest.mark.parametrize("family", WRITING)
def test_micro_batches_of_models_that_write(family: str, micro_tokens: int, corpus: list[str]) -> None:
    """The same, where a batch is pairs of what is read and what is written, and with a penalty on the scores."""
    kind, config = preset(f"{family}-tiny")
    assert kind.tokenizer is not None
    style = replace(kind.tokenizer, sentinels=min(kind.tokenizer.sentinels, 20))
    tokenizer = train_tokenizer(corpus, style, 700)
    torch.manual_seed(0)
    sizes = {"vocab_size": tokenizer.vocab_size, "width": 32, "hidden": 64, "heads": 4, "max_length": 128}
    sizes |= {"t5": {"head_size": 8}, "bart": {"activation_dropout": 0.0}}.get(family, {})
    model = Model(kind, config.model_copy(update={**sizes, "dropout": 0.0, "attention_dropout": 0.0}), "next_token")
    what, examples = WRITING[family]
    sequences = Sequences.from_arrays(tokenizer.encode(corpus[:40]))
    start = () if family == "gpt2" else (0,)
    data = examples(sequences, tokenizer, *start)
    task = what(tokenizer, np.ones(tokenizer.vocab_size), z_loss=1e-2)

    batch = data.batch(np.arange(40), (0, 0))
    parts = batch.split(micro_tokens)
    assert len(parts) > 1
    assert len({part.labels for part in parts}) > 1
    mean = task.loss(model, batch) / batch.labels
    mean.backward()
    expected = gradients(model)
    model.zero_grad()
    for part in parts:
        (task.loss(model, part) / batch.labels).backward()
    found = gradients(model)
    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in found.items():
        assert (gradient - expected[name]).abs().max() <= 1e-5, name


@pytest.mark.parametrize("kind", TASKS)
def test_the_order_in_a_batch_does_not_matter(kind: str, corpus: list[str], tokenizer: Tokenizer) -> None:
    data = prepared(kind, corpus, tokenizer)
    model = build(data.task, tokenizer)
    found = []
    for ids in (np.arange(20), np.arange(20)[::-1].copy()):
        batch = data.train.batch(ids, (0, 0))
        model.zero_grad()
        (data.task.loss(model, batch) / batch.labels).backward()
        found.append(gradients(model))
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() <= 1e-5, name


def test_a_gradient_is_clipped_as_a_whole(corpus: list[str], tokenizer: Tokenizer) -> None:
    data = prepared("masked_lm", corpus, tokenizer)
    model = build(data.task, tokenizer)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.0))
    batch = data.train.batch(np.arange(9), (0, 0))
    step(state, data.task, batch, Recipe(steps=1, lr=1.0, clip=0.01, micro_tokens=100), Compute(), 2.0)
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
    assert moved.norm().item() == pytest.approx(2.0 * 0.01, rel=1e-2)


# ------------------------------------------------------------------------------------------------ a run


def test_a_run_learns(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = prepared("masked_lm", corpus, tokenizer, 200)
    run(data, Recipe(steps=40, lr=0.01, batch_tokens=1000, evaluations=4), tokenizer, tmp_path)
    losses = [line["loss"] for line in lines(tmp_path, "train")]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.5


def test_a_run_has_the_steps_the_rates_and_the_evaluations_of_its_recipe(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = prepared("masked_lm", corpus, tokenizer)
    recipe = Recipe(steps=20, lr=0.01, schedule="linear", warmup=0.25, batch_size=8, evaluations=5)
    state = run(data, recipe, tokenizer, tmp_path)
    steps = lines(tmp_path, "train")
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert [line["step"] for line in lines(tmp_path, "validation")] == [4, 8, 12, 16, 20]
    # A rate is that of the beginning of its step: up over 5 steps, then down over 15.
    expected = [max(i / 5, 0.02) if i < 5 else (20 - i) / 15 for i in range(20)]
    assert [line["lr"] for line in steps] == pytest.approx([0.01 * share for share in expected])
    assert (state.step, state.tokens) == (20, steps[-1]["tokens"])
    # 60 examples in eights: 8 batches make an epoch.
    assert state.position == Position(2, 32)


def test_a_run_of_so_many_epochs_reads_everything_so_often(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = prepared(SINGLE, corpus, tokenizer)
    state = run(data, Recipe(epochs=3, lr=1e-3, batch_size=7), tokenizer, tmp_path)
    assert state.position == Position(3, 0)
    assert state.tokens == 3 * data.train.lengths(np.arange(60)).sum()
    assert state.step == 3 * math.ceil(60 / 7)


class Scripted(MaskedLM):
    """Looks at the validation part and says what it was told to say."""

    script: tuple[float, ...] = ()
    told = 0

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        self.told += 1
        return {"loss": self.script[self.told - 1]}


def scripted(corpus: list[str], tokenizer: Tokenizer, *script: float) -> Prepared:
    data = prepared("masked_lm", corpus, tokenizer)
    task = Scripted(tokenizer, np.ones(tokenizer.vocab_size))
    task.script = script
    return Prepared(task, data.train, data.validation)


def test_the_best_weights_are_kept_not_the_last(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = scripted(corpus, tokenizer, 3.0, 1.0, 2.0, 1.0)
    at_evaluation: list[dict[str, Tensor]] = []
    real = loop_module._evaluate

    def watched(state: TrainState, *rest: Any) -> None:
        at_evaluation.append({name: p.detach().clone() for name, p in state.model.named_parameters()})
        real(state, *rest)

    monkeypatch.setattr(loop_module, "_evaluate", watched)
    state = run(data, Recipe(steps=8, lr=0.01, batch_size=8, evaluations=4), tokenizer, tmp_path)
    assert (state.best, state.best_step) == ((-1.0,), 4)
    (file,) = (tmp_path / "checkpoints").glob("best-*")  # an older one is gone once a checkpoint knows of the newer
    best = load_file(file)
    assert best.keys() == at_evaluation[1].keys()
    assert all(torch.equal(best[name], tensor) for name, tensor in at_evaluation[1].items())
    assert not torch.equal(best["head.dense.weight"], at_evaluation[3]["head.dense.weight"])


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.1, [10, 20, 30, 40, 50, 60]), (7.0, [10, 60]), (1.5, [10, 30, 50, 60])]
)
def test_a_run_by_the_clock_does_not_spend_its_time_on_evaluations(
    seconds: float,
    expected: list[int],
    corpus: list[str],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six are wished for in a minute of steps of a second; the last one always is."""
    now = 0.0
    at: list[int] = []
    real_step, real_evaluate = loop_module.step, loop_module._evaluate

    def slow_step(*given: Any) -> Any:
        nonlocal now
        now += 1.0
        return real_step(*given)

    def slow_evaluation(*given: Any) -> None:
        nonlocal now
        at.append(round(now, -1))
        real_evaluate(*given)
        now += seconds

    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(loop_module, "step", slow_step)
    monkeypatch.setattr(loop_module, "_evaluate", slow_evaluation)
    data = prepared("masked_lm", corpus, tokenizer)
    run(data, Recipe(minutes=1, lr=0.01, batch_size=8, evaluations=6), tokenizer, tmp_path)
    assert at == expected


def test_patience_ends_a_run_that_gets_no_better(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = scripted(corpus, tokenizer, 2.0, 1.0, 1.5, 1.0, 0.5, 0.1)
    recipe = Recipe(steps=12, lr=0.01, batch_size=8, evaluations=6, patience=2)
    state = run(data, recipe, tokenizer, tmp_path)
    assert (state.step, state.best_step) == (8, 4)


def test_a_run_that_patience_ended_does_not_go_on_when_it_is_taken_up_again(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """After a kill between the last step and the report."""
    data = scripted(corpus, tokenizer, 2.0, 1.0, 1.5, 1.0, 0.5, 0.1)
    recipe = Recipe(steps=12, lr=0.01, batch_size=8, evaluations=6, patience=2)
    run(data, recipe, tokenizer, tmp_path)
    again = build(data.task, tokenizer)
    taken_up = TrainState(again, make_optimizer(again, recipe))
    taken_up.load(tmp_path / "checkpoints" / "step-00000008")
    run(data, recipe, tokenizer, tmp_path, taken_up)
    assert taken_up.step == 8


def test_a_finished_run_that_is_taken_up_again_learns_nothing_more(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = prepared("masked_lm", corpus, tokenizer)
    recipe = Recipe(steps=3, lr=0.01, batch_size=8, evaluations=1)
    state = run(data, recipe, tokenizer, tmp_path)
    held = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    before = read_metrics(tmp_path)
    run(data, recipe, tokenizer, tmp_path, state)
    assert state.step == 3
    assert all(torch.equal(held[name], p) for name, p in state.model.named_parameters())
    assert read_metrics(tmp_path) == before


def test_the_speed_after_a_resume_counts_the_tokens_since(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = prepared("masked_lm", corpus, tokenizer)
    recipe = Recipe(steps=8, lr=0.01, batch_size=8, evaluations=1)
    with pytest.raises(Interrupted):
        run(data, recipe, tokenizer, tmp_path, stop_after=6)
    model = build(data.task, tokenizer)
    state = TrainState(model, make_optimizer(model, recipe))
    state.load(tmp_path / "checkpoints" / "step-00000006")
    tokens, seconds = state.tokens, state.seconds
    with pytest.raises(Interrupted):
        run(data, recipe, tokenizer, tmp_path, state, stop_after=7)
    line = lines(tmp_path, "train")[-1]
    assert line["step"] == 7
    # Its speed times its time is its tokens; the time is rounded to milliseconds.
    read = line["tokens_per_second"] * (line["seconds"] - seconds)
    assert read <= 2 * (line["tokens"] - tokens)


# ------------------------------------------------------------------------------------------------ what goes wrong


class Eventful(MaskedLM):
    """Something happens while the loss of a step is computed."""

    events: Mapping[int, Callable[[], float]] = {}
    asked = 0

    def loss(self, model: Model, batch: Batch) -> Tensor:
        self.asked += 1
        return super().loss(model, batch) * self.events.get(self.asked, lambda: 1.0)()


def eventful(corpus: list[str], tokenizer: Tokenizer, events: Mapping[int, Callable[[], float]]) -> Prepared:
    data = prepared("masked_lm", corpus, tokenizer)
    task = Eventful(tokenizer, np.ones(tokenizer.vocab_size))
    task.events = events
    return Prepared(task, data.train, data.validation)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_the_last_checkpoint_kept(
    value: float, corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = eventful(corpus, tokenizer, {6: lambda: value})
    recipe = Recipe(steps=9, lr=0.01, batch_size=8, evaluations=1, checkpoint_steps=2)
    model = build(data.task, tokenizer)
    state = TrainState(model, make_optimizer(model, recipe))
    with pytest.raises(UserError, match=r"no number any more at step 6 .*0.01 \(--lr\)"):
        run(data, recipe, tokenizer, tmp_path, state)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    found = latest(tmp_path / "checkpoints")
    assert found
    assert found.name == "step-00000004"
    assert [line["step"] for line in lines(tmp_path, "train")] == [1, 2, 3, 4, 5]
    # Taken up from there it ends where a run without the accident ends.
    other = build(data.task, tokenizer)
    taken_up = TrainState(other, make_optimizer(other, recipe))
    taken_up.load(found)
    run(data, recipe, tokenizer, tmp_path, taken_up)
    whole = run(eventful(corpus, tokenizer, {}), recipe, tokenizer, None)
    for (name, one), parameter in zip(other.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, parameter), name


# ------------------------------------------------------------------------------------------------ on a device


@pytest.fixture
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step came to is read a step later, which a CPU can do as well."""
    monkeypatch.setattr(loop_module, "reads_late", lambda device, optimizer: True)


class Asked(TorchDispatchMode):
    """Counts what makes a host wait for a device: numbers that are read, and shapes that depend on them."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select)
        self.count += getattr(function, "overloadpacket", None) in waits
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.usefixtures("as_on_a_device")
def test_a_step_never_asks_the_device(kind: str, corpus: list[str], tokenizer: Tokenizer) -> None:
    data = prepared(kind, corpus, tokenizer)
    model = build(data.task, tokenizer, dropout=0.1)
    state = TrainState(model, make_optimizer(model, Recipe(steps=1, lr=0.1)))
    batch = data.train.batch(np.arange(9), (0, 0))
    outcome = None
    with Asked() as asked:
        for _ in range(3):
            outcome = step(state, data.task, batch, Recipe(steps=1, lr=0.1, micro_tokens=100), Compute(), 0.1, outcome)
        assert asked.count == 0
        assert outcome is not None
        float(outcome.broken(None))
        assert asked.count == 1


@pytest.mark.usefixtures("as_on_a_device")
def test_a_run_on_a_device_is_the_same(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Weights, losses and steps that are logged; only the time of each line is another."""
    data = prepared("masked_lm", corpus, tokenizer)
    recipe = Recipe(steps=7, lr=0.01, batch_size=8, evaluations=2, log_steps=2, checkpoint_steps=3)
    for name in ("late", "soon"):
        (tmp_path / name).mkdir()
    late = run(data, recipe, tokenizer, tmp_path / "late")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module, "reads_late", reads_late)
        soon = run(data, recipe, tokenizer, tmp_path / "soon")
    for one, other in zip(late.model.parameters(), soon.model.parameters(), strict=True):
        assert torch.equal(one, other)
    kept = ("kind", "step", "loss", "lr", "tokens")
    found = [[{k: line.get(k) for k in kept} for line in read_metrics(tmp_path / name)] for name in ("late", "soon")]
    assert found[0] == found[1]
    assert len(found[0]) == 3 + 2


@pytest.mark.usefixtures("as_on_a_device")
@pytest.mark.parametrize("bad", [1, 6, 9])
def test_a_step_that_is_known_to_be_bad_a_step_later_has_changed_nothing(
    bad: int, corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Nor has the step after it: weights and both moments are those of a run that was stopped before."""
    recipe = Recipe(steps=9, lr=0.01, batch_size=8, evaluations=1, checkpoint_steps=2)
    data = eventful(corpus, tokenizer, {bad: lambda: math.nan})
    model = build(data.task, tokenizer)
    state = TrainState(model, make_optimizer(model, recipe))
    with pytest.raises(Diverged, match=rf"no number any more at step {bad} .*0.01 \(--lr\)"):
        run(data, recipe, tokenizer, tmp_path, state)
    assert [line["step"] for line in lines(tmp_path, "train")] == list(range(1, bad))
    found = latest(tmp_path / "checkpoints")
    assert (found.name if found else "") == {1: "", 6: "step-00000004", 9: "step-00000008"}[bad]
    other = build(data.task, tokenizer)
    before = TrainState(other, make_optimizer(other, recipe))
    if bad > 1:
        with pytest.raises(Interrupted):
            run(eventful(corpus, tokenizer, {}), recipe, tokenizer, None, before, stop_after=bad - 1)
    for one, parameter in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, parameter)
        for key, moment in before.optimizer.state[one].items():
            assert torch.equal(moment, state.optimizer.state[parameter][key]), key


def test_a_cpu_and_other_optimizers_are_asked_at_once() -> None:
    weight = [torch.nn.Parameter(torch.zeros(1))]
    adamw, sgd = torch.optim.AdamW(weight, fused=True), torch.optim.SGD(weight)
    assert not reads_late(torch.device("cpu"), adamw)
    assert reads_late(torch.device("cuda"), adamw)
    assert not reads_late(torch.device("cuda"), sgd)


class Slow(Examples):
    """Examples that take two seconds of a made-up clock."""

    def __init__(self, examples: Examples, sleep: Callable[[float], None]) -> None:
        self.examples, self.sleep = examples, sleep

    def __len__(self) -> int:
        return len(self.examples)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        return self.examples.lengths(ids)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        self.sleep(2.0)
        return self.examples.batch(ids, key)


def test_the_share_of_time_spent_waiting_for_data_is_told(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds for a batch and, from the third step on, six for its loss."""
    now = 0.0

    def sleep(seconds: float) -> float:
        nonlocal now
        now += seconds
        return 1.0

    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: now))
    data = eventful(corpus, tokenizer, {number: partial(sleep, 6.0) for number in (3, 4)})
    slow = Prepared(data.task, Slow(data.train, sleep), data.validation)
    recipe = Recipe(steps=4, lr=0.01, batch_size=8, evaluations=1, workers=0)
    model = build(slow.task, tokenizer)
    with Tracker(tmp_path, quiet=True) as tracker:
        state = TrainState(model, make_optimizer(model, recipe))
        # The loop reads a fifth batch to find that it is at its end.
        assert train(state, slow, recipe, Compute(), tracker, None, 0) == pytest.approx(10.0 / 22.0)
    assert [line["idle"] for line in lines(tmp_path, "train")] == [1.0, 1.0, 0.25, 0.25]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_after_the_step_with_all_of_it_saved(
    number: signal.Signals, corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def interrupt() -> float:
        os.kill(os.getpid(), number)
        return 1.0

    before = signal.getsignal(number)
    recipe = Recipe(steps=9, lr=0.01, batch_size=8)
    with pytest.raises(Interrupted):
        run(eventful(corpus, tokenizer, {5: interrupt}), recipe, tokenizer, tmp_path)
    assert signal.getsignal(number) is before
    found = latest(tmp_path / "checkpoints")
    assert found
    assert found.name == "step-00000005"
    assert lines(tmp_path, "train")[-1]["step"] == 5


def test_a_full_disk_under_the_best_weights_leaves_the_last_checkpoint_and_says_so(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoint_module.write_tensors

    def full(tensors: Mapping[str, Tensor], path: Path) -> None:
        if "best" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint_module, "write_tensors", full)
    recipe = Recipe(steps=8, lr=0.01, batch_size=8, evaluations=1, checkpoint_steps=3)
    with pytest.raises(UserError, match=r"step 8 .*No space left.*step-00000006 is complete"):
        run(prepared("masked_lm", corpus, tokenizer), recipe, tokenizer, tmp_path)
    found = latest(tmp_path / "checkpoints")
    assert found
    assert found.name == "step-00000006"


def test_a_checkpoint_that_can_not_be_written_stops_the_run(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    recipe = Recipe(steps=4, lr=0.01, batch_size=8, checkpoint_steps=2, evaluations=1)
    with pytest.raises(UserError, match="checkpoint of step 2 could not be written"):
        run(prepared("masked_lm", corpus, tokenizer), recipe, tokenizer, tmp_path)
