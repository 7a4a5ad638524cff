"""What convolutions cost: the sizes of their maps follow from each other, so the meta device is asked for them.

Nothing is computed there and nothing takes memory; only shapes go through.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from patchword.explain.costs import FP32, INDEX, Cost
from patchword.explain.walk import NORMS, part_of

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def of_maps(trunk: nn.Module, picture: tuple[int, int, int]) -> tuple[list[Cost], int]:
    """Costs of a trunk of convolutions for one picture, and the number of vectors that it gives.

    A convolution and a norm keep what comes in, once where several share it. A convolution that does not multiply with
    its weights as they are keeps what it makes of them.

    Args:
        trunk: on the meta device.
        picture: channels, height, width.
    """
    found: list[Cost] = []
    kept: list[Tensor] = []

    def seen(module: nn.Module, given: tuple[Any, ...], result: Tensor) -> None:
        into = given[0]
        new = all(into is not tensor for tensor in kept)
        kept.append(into)
        part, products, size, once = part_of(module, "other"), 0, FP32 * into.numel() * new, 0
        match module:
            case nn.Conv2d():
                products = 2 * result.numel() * module.weight[0].numel()
                once = FP32 * module.weight.numel() * (type(module).forward is not nn.Conv2d.forward)
            case nn.Linear():
                products = 2 * result.numel() * module.in_features
            case nn.MaxPool2d():
                size += INDEX * result.numel()
        found.append(Cost(part, products=products, kept=size, once=once))

    with ExitStack() as stack, torch.no_grad():
        for module in trunk.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, *NORMS, *_POOLS)):
                stack.callback(module.register_forward_hook(seen).remove)
        vectors = trunk(torch.empty(1, *picture, device="meta"))
    return found, vectors.layout.tokens
