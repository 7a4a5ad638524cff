"""Supervised contrastive learning: vectors of rows with one label come together, all others go apart.

Whether it helps on few labels has not been measured here yet, so it is off where nobody asks for it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.3
"""Of Gunel et al. 2021, the best of their few-label runs."""


def contrast(vectors: Tensor, targets: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Summed loss of Khosla et al. 2020, equation 2, over the rows of a batch; a row without a fellow counts 0.

    For each row, the mean over its fellows (rows of the same class) of minus the log of the softmax, over all other
    rows, of the cosine by the temperature. Memory is that of the similarities, `[N, N]`; no pairs are laid out.

    Args:
        vectors: one a row, `[N, width]`, of any length.
        targets: classes, `[N]`.
        temperature: what cosines are divided by.
    """
    vectors = F.normalize(vectors.float(), dim=1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    log_share = similarity.log_softmax(1).masked_fill(itself, 0.0)
    fellows = (targets[:, None] == targets[None]) & ~itself
    return -((log_share * fellows).sum(1) / fellows.sum(1).clamp(min=1)).sum()
