"""How weights begin."""

from __future__ import annotations

import torch
from scipy import stats
from torch import nn

from patchword.nn.transformer import cut_normal_


def test_a_normal_that_is_cut_is_scipys() -> None:
    """Kolmogorov and Smirnov's test over 200,000 numbers sees a deviation that is off by a twentieth."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.empty(400, 500))
    cut_normal_(weight, 0.02)
    values = weight.detach().flatten().double().numpy()
    assert abs(values).max() <= 0.04
    assert stats.kstest(values, stats.truncnorm(-2, 2, scale=0.02).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.truncnorm(-2, 2, scale=0.021).cdf).pvalue < 0.01


def test_a_weight_without_memory_stays_as_it_is() -> None:
    cut_normal_(torch.empty(3, 4, device="meta"), 0.02)
