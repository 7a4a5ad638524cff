"""AdamW, with decay only where it belongs."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from patchword.models.family import Model
from patchword.training.recipe import Recipe
from patchword.training.tuning import rate_factors


def make_optimizer(model: nn.Module, recipe: Recipe, new: Collection[str] = ()) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019), all updates in one call.

    Matrices, convolutions and word tables decay; biases, norms, positions and class tokens do not. A group's
    "factor" is what its learning rate is multiplied by.

    Args:
        model: what learns.
        recipe: how.
        new: names of parameters that learn `Recipe.head_lr` times faster.
    """
    decays = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding)}
    factors = rate_factors(model, recipe.layer_decay) if isinstance(model, Model) else {}
    factors |= {name: recipe.head_lr * factors.get(name, 1.0) for name in new}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if id(parameter) in decays else 0.0
            groups.setdefault((decay, factors.get(name, 1.0)), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "weight_decay": decay, "factor": factor} for (decay, factor), group in groups.items()],
        lr=recipe.lr,
        betas=recipe.betas,
        eps=recipe.eps,
        fused=True,
    )
