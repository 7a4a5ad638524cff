"""Cross-entropy against a large vocabulary whose scores never stand in memory all at once.

Shapes: n tokens with a target, V words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 1 << 25
"""Scores, n x V, that are made at once: 128 MiB in fp32."""


def linear_cross_entropy(
    tokens: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, z_loss: float = 0.0
) -> Tensor:
    """Summed cross-entropy in nats of softmax(x W^T + b), in fp32, and a penalty on the size of the scores.

    So many tokens at a time are scored as `AT_ONCE` allows, and their gradients are computed at the same time: three
    products, as if nothing were cut. torch's own function of this name sums a bf16 loss in bf16, knows no penalty, and
    cuts a CPU's products so small that they take several times as long.

    Args:
        tokens: `[n, width]`, or more: those beyond the targets have none.
        weight: W `[V, width]`.
        bias: b `[V]`.
        targets: word ids `[n]`.
        z_loss: weight of log(Z)^2, which keeps the scores near 0 (Chowdhery et al. 2022, section 5).
    """
    in_parts: Callable[..., Tensor] = _InParts.apply
    return in_parts(tokens, weight, bias, targets, z_loss, max(AT_ONCE // len(weight), 1))


def losses_and_guesses(tokens: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each token `[n]`, and the word with the highest score `[n]`; not to be learnt from."""
    losses, guesses = [], []
    rows = max(AT_ONCE // len(weight), 1)
    with torch.no_grad():
        for first in range(0, len(tokens), rows):
            logits = F.linear(tokens[first : first + rows], weight, bias).float()
            losses.append(F.cross_entropy(logits, targets[first : first + rows], reduction="none"))
            guesses.append(logits.argmax(-1))
    return torch.cat(losses), torch.cat(guesses)


class _InParts(torch.autograd.Function):
    """So many tokens at a time; what the backward pass needs are gradients of a loss that counts once."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, z_loss: float, rows: int
    ) -> Tensor:
        kind = tokens.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tokens.dtype
        for_tokens, for_weight, for_bias = ctx.needs_input_grad[:3]
        token_gradient = torch.empty_like(tokens) if for_tokens else None
        weight_gradient = torch.zeros_like(weight) if for_weight else None
        bias_gradient = torch.zeros_like(bias) if bias is not None and for_bias else None
        loss = torch.zeros((), device=tokens.device)
        # Autocast would turn the weights into bf16 anew for every part.
        with torch.autocast(kind, enabled=False):
            words = weight.to(dtype)
            added = None if bias is None else bias.to(dtype)
            for first in range(0, len(tokens), rows):
                part = tokens[first : first + rows].to(dtype)
                target = targets[first : first + rows, None]
                scores = F.linear(part, words, added)
                of_target = scores[: len(target)].gather(1, target).float()
                slope = F.log_softmax(scores, 1, dtype=torch.float32)
                nats = -slope[: len(target)].gather(1, target)
                loss += nats.sum()
                slope.exp_()
                if z_loss:
                    log_z = of_target + nats
                    loss += z_loss * log_z.square().sum()
                    slope[: len(target)] *= 1 + 2 * z_loss * log_z
                slope[: len(target)].scatter_add_(1, target, torch.full_like(nats, -1.0))
                slope[len(target) :] = 0.0
                if bias_gradient is not None:
                    bias_gradient += slope.sum(0)
                slope = slope.to(dtype)
                if token_gradient is not None:
                    token_gradient[first : first + rows] = slope @ words
                if weight_gradient is not None and dtype == weight.dtype:
                    weight_gradient.addmm_(slope.t(), part)
                elif weight_gradient is not None:
                    weight_gradient += slope.t() @ part
        ctx.save_for_backward(token_gradient, weight_gradient, bias_gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if of is None else of * slope for of in ctx.saved_tensors)
        return (*gradients, None, None, None)
