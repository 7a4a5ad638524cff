"""Weights between those that a run began with and those that it has learnt (Wortsman et al. 2022, "WiSE-FT").

What a start was good at is not lost so soon, and what the new text says is there already.
"""

from __future__ import annotations

import torch

from patchword.models.family import Model


def blend(model: Model, start: Model, share: float) -> None:
    """Put the trunk on the line between the two; the head stays as it was learnt.

    Args:
        model: has learnt; is changed.
        start: the same model as it was when it began.
        share: how far from the start to what was learnt, 0 to 1.
    """
    began = start.tensors()
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            if name.startswith("trunk.") and tensor.is_floating_point():  # counters are not between anything
                tensor.lerp_(began[name].to(tensor.device), 1 - share)
