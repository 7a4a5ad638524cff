"""AdamW (Loshchilov and Hutter 2019), all of a group in one call.

The numbers are those of `torch.optim.AdamW(fused=True)`. That one loads torch's compiler, to be kept out of it, and
every command that trains would take a second longer to its first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import unwrap
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw


class AdamW(Optimizer):
    """One step for all groups.

    Args:
        groups: "params" with "weight_decay".
        lr, betas, eps: of all groups.
    """

    skips: ClassVar[bool] = True
    """Whether `found_inf` is heeded."""
    found_inf: Tensor | None = None
    """1 on the device: the next steps change nothing; 0 or None: they do."""

    # Without what keeps the compiler out of them.
    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

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
        self.move(
            [
                (group, parameters)
                for group in self.param_groups
                if (parameters := [parameter for parameter in group["params"] if parameter.grad is not None])
            ]
        )
        return loss

    def move(self, groups: Iterable[tuple[dict[str, Any], list[Tensor]]]) -> None:
        """One step of these parameters, by the settings of their groups."""
        for group, parameters in groups:
            for parameter in parameters:
                if not (state := self.state[parameter]):
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            states = [self.state[parameter] for parameter in parameters]
            adamw(
                parameters,
                gradients(parameters),
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                found_inf=self.found_inf,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )


def gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Of those that have one."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
