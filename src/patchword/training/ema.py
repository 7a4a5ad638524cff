"""A mean of the weights along the run, kept beside them, so that noise of the last steps cancels.

    E_t = E_(t-1) + (W_t - E_(t-1)) / max(1, share x t)

Weights of step i count like i^(1/share - 1): the mean looks back on about a share of the run so far, whose length it
need not know (Karras et al. 2024, section 3.1; with share = 1 it is the mean of all steps). An exponential average
looks back on a number of steps instead, which is too long at the beginning and too short at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from patchword.models.family import Model
from patchword.training.restored import restored


@torch.no_grad()
def follow(mean: dict[str, Tensor], model: Model, share: float, step: int) -> None:
    """Take the weights after a step into the mean, which is empty at the beginning.

    Args:
        mean: by name; changed in place.
        model: as it is after the step.
        share: of the steps so far that the mean looks back on.
        step: number of the step, from 1.
    """
    weights = {name: tensor for name, tensor in model.tensors().items() if tensor.is_floating_point()}
    if not mean:
        mean.update({name: tensor.detach().clone() for name, tensor in weights.items()})
    torch._foreach_lerp_([mean[name] for name in weights], list(weights.values()), 1.0 / max(1.0, share * step))


@contextmanager
def instead(mean: Mapping[str, Tensor], model: Model) -> Iterator[None]:
    """For a while, the model has the mean as its weights; nothing changes where there is none."""
    if not mean:
        yield
        return
    with restored(model):
        model.load_state_dict(mean, strict=False)
        yield
