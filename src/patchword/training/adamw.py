"""Optimizers of torch that do not load its compiler.

torch keeps the compiler out of three methods, and loads it to do so: every command that trains would be at its first
step a second later.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class Uncompiled(torch.optim.Optimizer):
    """The methods of every optimizer."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class AdamW(Uncompiled, torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019)."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
