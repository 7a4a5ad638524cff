"""What moves the weights: AdamW, or Muon beside it, with decay only where it belongs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from patchword.errors import UserError
from patchword.models.family import Model
from patchword.nn.experts import MixtureOfExperts
from patchword.tasks.precision import choose_precision
from patchword.training.adamw import AdamW
from patchword.training.matrices import Rows, matrices
from patchword.training.muon import Muon
from patchword.training.recipe import Recipe
from patchword.training.tuning import rate_factors


def make_optimizer(model: nn.Module, recipe: Recipe, new: Collection[str] = ()) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), all updates in one call, or Muon (`training/muon.py`).

    Matrices, convolutions and word tables decay; biases, norms, positions and class tokens do not. A group's
    "factor" is what its learning rate is multiplied by. Muon makes its products in the type that the model computes
    in: the one that the hardware runs fast, and the same when a run goes on.

    Args:
        model: what learns.
        recipe: how.
        new: names of parameters that learn `Recipe.head_lr` times faster.

    Raises:
        UserError: Muon is asked for, and the model has no matrices in layers.
    """
    decays = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding)}
    experts = [part for part in model.modules() if isinstance(part, MixtureOfExperts)]
    decays |= {id(parameter) for part in experts for parameter in (part.up, part.down)}
    # What is learnt beside matrices, of a low rank, has a rate of its own.
    of_layers = matrices(model) if recipe.tune == "all" else {}
    muon = recipe.optimizer == "muon"
    factors = rate_factors(model, recipe.layer_decay) if isinstance(model, Model) else {}
    factors |= {name: recipe.head_lr * factors.get(name, 1.0) for name in new}
    groups: dict[tuple[float, float, Rows | None], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if id(parameter) in decays else 0.0
            rows = of_layers.get(parameter)
            factor = factors.get(name, 1.0) * (recipe.matrix_lr if rows else 1.0)
            kind = decay, factor, rows if muon else None
            groups.setdefault(kind, []).append(parameter)
    told: list[dict[str, Any]] = [
        {"params": group, "weight_decay": decay, "factor": factor, "rows": rows}
        for (decay, factor, rows), group in groups.items()
    ]
    if muon:
        if not of_layers:
            raise UserError("The model has no matrices in layers, which is what Muon is for. Take --optimizer adamw.")
        precision, _ = choose_precision(recipe.precision, next(model.parameters()).device)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Muon(told, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, dtype=dtype)
    return AdamW(told, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)
