"""Norms that torch does not have as they are needed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * g (Zhang and Sennrich 2019, equation 4), in fp32 whatever comes in."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        normed = F.rms_norm(hidden_states.float(), self.normalized_shape, self.weight, self.eps)
        return normed.to(hidden_states.dtype)
