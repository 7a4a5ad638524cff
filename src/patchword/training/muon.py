"""Muon (Jordan et al. 2024) for the matrices of layers, AdamW for the rest, as one optimizer.

    M <- 0.95 M + 0.05 G        W <- (1 - rate x decay) W - rate x 0.2 sqrt(max(rows, columns)) O(0.95 M + 0.05 G)

G is the gradient; O replaces the singular values of a matrix by about 1. The factor gives an update the size that
AdamW's has, so that one learning rate and one decay are right for both (Liu et al. 2025, section 2.2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from patchword.training.adamw import Uncompiled

MOMENTUM = 0.95
ADAMW_RMS = 0.2
"""The root mean square of what AdamW adds to a weight at a rate of 1, as it was seen in many runs."""
_COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the odd polynomial, and how often it is applied: Jordan's
_ITERATIONS = 5


class Muon(Uncompiled):
    """One step for groups of both kinds.

    Args:
        groups: "params" with "weight_decay" and "rows": of the matrices that each parameter is made of
            (`training/matrices.py`), or None for parameters that AdamW learns.
        lr, betas, eps: the rate of both, and what else AdamW takes.
        dtype: what products are made in to find O; bfloat16 is enough where the hardware has units for it, and where
            it has none it takes hundreds of times as long.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "rows": None})
        self.dtype = dtype

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Learn from the gradients; parameters that have none stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        todo = _Matrices(self.dtype)
        for group in self.param_groups:
            parameters: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters and group["rows"]:
                self._add(group, parameters, todo)
            elif parameters:
                self._adamw(group, parameters)
        todo.move()
        return loss

    def _add(self, group: dict[str, Any], parameters: list[Tensor], todo: _Matrices) -> None:
        """Take the gradients into the momentum and note where each matrix is to move."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = _gradients(parameters)
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        for parameter, direction in zip(parameters, ahead, strict=True):
            parts = parameter.split(group["rows"], -2), direction.split(group["rows"], -2)
            for weight, towards in zip(*parts, strict=True):
                todo.add(weight, towards, group["lr"])

    def _adamw(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            if not (state := self.state[parameter]):
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            _gradients(parameters),
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


class _Matrices:
    """Matrices that are to move, those of one shape together: one product for all of them."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.of_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor, float]]] = defaultdict(list)

    def add(self, weight: Tensor, towards: Tensor, lr: float) -> None:
        """A matrix `[rows, columns]` or several `[E, rows, columns]`, a direction of its shape, and a rate.

        One that is higher than wide is turned: its products are smaller, and it goes with those of the other shape.
        """
        if weight.shape[-2] > weight.shape[-1]:
            weight, towards = weight.mT, towards.mT
        if weight.ndim == 2:
            weight, towards = weight[None], towards[None]
        _, rows, columns = weight.shape
        self.of_shape[rows, columns].append((weight, towards, lr))

    def move(self) -> None:
        """Add to each weight what its direction becomes."""
        for (_, columns), matrices in self.of_shape.items():
            weights, directions, rates = zip(*matrices, strict=True)
            moved = orthogonal(torch.cat(directions), self.dtype).to(directions[0].dtype)
            for weight, direction, lr in zip(weights, moved.split([len(w) for w in weights]), rates, strict=True):
                weight.add_(direction, alpha=-lr * ADAMW_RMS * math.sqrt(columns))


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """U S V^T -> about U V^T, by Newton and Schulz' iteration: its singular values lie around 1, in [0.7, 1.2].

    Those that are under a thousandth of the largest stay smaller; no more is needed (Jordan et al. 2024).

    Args:
        matrices: `[n, rows, columns]`, no higher than wide.
        dtype: of the products and the result.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
