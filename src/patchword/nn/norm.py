"""Norms and scales that torch does not have as they are needed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * g (Zhang and Sennrich 2019, equation 4), in fp32 whatever comes in."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        normed = F.rms_norm(hidden_states.float(), self.normalized_shape, self.weight, self.eps)
        return normed.to(hidden_states.dtype)


class Scaled(nn.Module):
    """A sub-layer whose result is scaled number by number (Touvron et al. 2021b, section 2: LayerScale).

    Args:
        inner: the sub-layer; whatever it takes is handed on.
        width: numbers per token.
        start: what each is multiplied by in the beginning.
    """

    def __init__(self, inner: nn.Module, width: int, start: float) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.full((width,), start))

    def forward(self, *inputs: Any) -> Tensor:
        """-> `[T, width]`."""
        output: Tensor = self.inner(*inputs) * self.scale
        return output
