"""Other weights for a while: to see how good a mean of them is, or those of another seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from patchword.models.family import Model


@contextmanager
def restored(model: Model) -> Iterator[None]:
    """Whatever is put into the model meanwhile, its weights are as they were afterwards."""
    tensors = model.tensors()
    kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])
