"""AdamW, with decay only where it belongs."""

from __future__ import annotations

import torch
from torch import nn

from patchword.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019), all updates in one call.

    Matrices, convolutions and word tables decay; biases, norms, positions and class tokens do not.
    """
    decays = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding)}
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if id(p) in decays], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if id(p) not in decays], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)
