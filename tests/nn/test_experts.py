"""A mixture of experts against the formula, token by token, and its balance against transformers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from patchword.nn.experts import MixtureOfExperts, balance_loss
from patchword.nn.transformer import initialise


def mixture(experts: int = 4, active: int = 2) -> MixtureOfExperts:
    layer = MixtureOfExperts(8, 12, experts=experts, active=active)
    torch.manual_seed(0)
    initialise(layer, 0.5)
    return layer


@given(tokens=st.integers(1, 20), active=st.integers(1, 4), seed=st.integers(0, 999))
def test_each_token_goes_through_its_best_experts(tokens: int, active: int, seed: int) -> None:
    layer = mixture(active=active)
    torch.manual_seed(seed)
    hidden = torch.randn(tokens, 8)
    output = layer(hidden)
    for x, y in zip(hidden, output, strict=True):
        scores = (layer.router.weight @ x).softmax(0)
        best = scores.argsort(descending=True)[:active]
        expected = torch.zeros(8)
        for e in best:
            gate, up = (layer.up[e] @ x).chunk(2)
            expected += scores[e] / scores[best].sum() * (layer.down[e] @ (F.silu(gate) * up))
        assert (y - expected).abs().max() <= 1e-5


def test_the_balance_is_that_of_transformers() -> None:
    layers = nn.ModuleList([mixture(), mixture(), mixture()])
    for layer in layers:
        layer(torch.randn(17, 8))
    theirs = load_balancing_loss_func(tuple(layer.router_logits for layer in layers), 4, 2)
    ours = balance_loss(layers)
    assert ours is not None
    assert abs(ours - theirs) <= 1e-6
    assert ours.requires_grad


def test_a_model_without_experts_has_no_balance() -> None:
    assert balance_loss(nn.Linear(2, 2)) is None


def test_more_active_experts_than_there_are() -> None:
    with pytest.raises(ValueError, match="5 active experts of 4"):
        mixture(4, 5)
