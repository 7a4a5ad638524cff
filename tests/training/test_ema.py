"""The mean of the weights along a run against closed forms, and in a run: judged and kept, never learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model, preset
from patchword.tasks.masked_lm import MaskedExamples, MaskedLM
from patchword.tasks.task import Compute, Prepared
from patchword.training.checkpoint import TrainState, check_space, latest
from patchword.training.ema import follow, instead
from patchword.training.loop import train
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe
from patchword.training.tracking import Tracker

NAME = "trunk.encoder.layers.0.attention.out.weight"


@pytest.mark.parametrize(
    ("share", "weights"),
    [
        (1.0, lambda i: np.ones(len(i))),  # the mean of all
        (0.5, lambda i: i - 1.0),  # steps in proportion to their number
        (0.25, lambda i: (i - 1.0) * (i - 2) * (i - 3)),  # like their cube
        (0.02, lambda i: i == 30),  # less than a step: the last one
    ],
)
def test_a_step_counts_by_a_power_of_its_number(share: float, weights: Callable[[np.ndarray], np.ndarray]) -> None:
    model = Model(*preset("bert-tiny"), "features").double()
    steps = torch.randn(30, dtype=torch.float64)
    mean: dict[str, torch.Tensor] = {}
    for number, value in enumerate(steps, 1):
        torch.nn.init.constant_(dict(model.named_parameters())[NAME], float(value))
        follow(mean, model, share, number)
    of = torch.as_tensor(weights(np.arange(1, 31)) * 1.0)
    assert (mean[NAME] - (of * steps).sum() / of.sum()).abs().max() <= 1e-12


def test_counters_are_not_averaged() -> None:
    model = Model(*preset(min(p for p in ("resnet-18", "resnet-50"))), "features")
    mean: dict[str, torch.Tensor] = {}
    follow(mean, model, 0.5, 1)
    counted = {name for name, tensor in model.tensors().items() if not tensor.is_floating_point()}
    assert counted
    assert mean.keys() == model.tensors().keys() - counted


def test_the_weights_come_back_to_the_bit() -> None:
    model = Model(*preset("bert-tiny"), "features")
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    with instead({name: tensor + 0.1 for name, tensor in before.items()}, model):
        assert torch.equal(model.tensors()[NAME], before[NAME] + 0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.tensors().items())


def learn(corpus: list[str], tokenizer: Tokenizer, out: Path, **settings: Any) -> tuple[TrainState, Prepared]:
    torch.manual_seed(0)
    family, config = preset("bert-tiny")
    sizes = {"vocab_size": tokenizer.vocab_size, "width": 32, "hidden": 64, "dropout": 0.0, "attention_dropout": 0.0}
    model = Model(family, config.model_copy(update=sizes), "masked_token")
    examples = MaskedExamples(Sequences.from_arrays(tokenizer.encode(corpus[:60])), tokenizer)
    data = Prepared(MaskedLM(tokenizer, np.ones(tokenizer.vocab_size)), examples, examples)
    recipe = Recipe(steps=8, lr=0.01, batch_tokens=300, evaluations=2, precision="fp32", **settings)
    state = TrainState(model, make_optimizer(model, recipe))
    out.mkdir(exist_ok=True)
    with Tracker(out, 0, quiet=True) as tracker:
        train(state, data, recipe, Compute(), tracker, out / "checkpoints", 0)
    return state, data


def test_the_mean_is_judged_and_kept_and_nothing_is_learnt_from_it(
    corpus: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plain, _ = learn(corpus, tokenizer, tmp_path / "plain", keep="last")
    state, data = learn(corpus, tokenizer, tmp_path / "mean", keep="last", ema=0.5)
    assert not plain.mean
    for name, tensor in plain.model.tensors().items():
        assert torch.equal(tensor, state.model.tensors()[name]), name
    kept = load_file(state.best_weights(tmp_path / "mean" / "checkpoints"))
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.mean.items())
    assert not torch.equal(kept[NAME], state.model.tensors()[NAME])
    with instead(state.mean, state.model):
        assert data.task.better(data.task.evaluate(state.model, data.validation, Compute())) == state.best


def test_it_goes_with_a_checkpoint(corpus: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    state, _ = learn(corpus, tokenizer, tmp_path, ema=0.3)
    again = TrainState(state.model, state.optimizer)
    checkpoint = latest(tmp_path / "checkpoints")
    assert checkpoint
    again.load(checkpoint)
    assert again.mean.keys() == state.mean.keys()
    assert all(torch.equal(again.mean[name], tensor) for name, tensor in state.mean.items())


def test_it_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(*preset("bert-tiny"), "features")
    free = 9 * 4 * model.num_parameters + 50_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": free}))
    check_space(tmp_path, model)
    with pytest.raises(UserError, match="GB free"):
        check_space(tmp_path, model, mean=True)
