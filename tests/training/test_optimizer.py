"""AdamW: what decays and what does not, told by watching it."""

from __future__ import annotations

import pytest
import torch

from patchword.models.family import Model, families, preset
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe

SIZES = {"width": 16, "depth": 2, "heads": 2, "hidden": 32}
MODELS = [("bert", "masked_token"), ("bert", "class"), ("vit", "class")]


def build(family: str, way_out: str) -> Model:
    more = {"vocab_size": 50, "max_length": 16} if family == "bert" else {"image_size": (8, 8), "patch_size": 4}
    kind = families()[family]
    return Model(kind, kind.config(**SIZES, **more), way_out, ("a", "b") if way_out == "class" else ())


@pytest.mark.parametrize(("family", "way_out"), MODELS)
def test_matrices_decay_and_biases_norms_and_positions_do_not(family: str, way_out: str) -> None:
    """A step without gradients multiplies by 1 - rate x decay whatever decays, and nothing else."""
    model = build(family, way_out)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 1.0, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_optimizer(model, Recipe(steps=1, lr=0.5, weight_decay=0.2)).step()
    for name, parameter in model.named_parameters():
        stays = parameter.ndim == 1 or "positions" in name
        expected = before[name] * (1.0 if stays else 0.9)
        assert (parameter - expected).abs().max() <= 1e-6, name


def test_experts_decay_as_other_matrices_do() -> None:
    family, config = preset("mixtral-tiny")
    with torch.device("meta"):
        model = Model(family, config, "next_token")
    groups = make_optimizer(model, Recipe(steps=1, lr=0.5, weight_decay=0.2)).param_groups
    decay = {p: group["weight_decay"] for group in groups for p in group["params"]}
    assert all(decay[p] == (0.2 if p.ndim > 1 else 0.0) for p in model.parameters())


@pytest.mark.parametrize(("family", "way_out"), MODELS)
def test_every_parameter_is_learnt_once(family: str, way_out: str) -> None:
    """The word table, which is also the scores of the masked words, counts once."""
    model = build(family, way_out)
    learnt = [p for group in make_optimizer(model, Recipe(steps=1, lr=0.1)).param_groups for p in group["params"]]
    assert len(learnt) == len({id(p) for p in learnt})
    assert {id(p) for p in learnt} == {id(p) for p in model.parameters()}


def test_what_is_frozen_is_left_alone() -> None:
    model = build("bert", "class")
    model.trunk.requires_grad_(False)
    groups = make_optimizer(model, Recipe(steps=1, lr=0.1)).param_groups
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.head.parameters()}


def test_a_step_is_that_of_loshchilov_and_hutter() -> None:
    """Algorithm 2 of the paper, by hand, for two steps."""
    recipe = Recipe(steps=1, lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False)).double()
    weight = model[0].weight
    theta = weight.detach().clone()
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    optimizer = make_optimizer(model, recipe)
    for t in (1, 2):
        gradient = torch.randn(2, 3, dtype=torch.float64)
        weight.grad = gradient.clone()
        optimizer.step()
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        corrected = (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-3)
        theta = theta - 0.01 * (corrected + 0.1 * theta)
        assert (weight - theta).abs().max() <= 1e-12
