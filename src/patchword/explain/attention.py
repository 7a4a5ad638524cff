"""Attention weights of a model for one input, and what they add up to over the layers.

Shapes: T tokens, H heads, D numbers per head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from patchword.models.config import PatchConfig
from patchword.models.family import Model
from patchword.nn.attention import SelfAttention
from patchword.nn.packing import Layout


def attention_weights(model: nn.Module, *inputs: Any) -> list[Tensor]:
    """How much each token of one input looks at each other: the softmax of every layer.

    The fast kernels never hold these weights, so they are computed again from what goes into each layer, which hooks
    pick up while the model runs.

    Args:
        model: with `SelfAttention` layers; used as it would predict (no dropout), its mode is left as it was.
        inputs: as the model takes them; one sequence of T tokens (one text, or one picture `[1, channels, h, w]`).

    Returns:
        A tensor for each layer, from the first, `[H, T, T]`: row t is where token t looks, and sums to 1.

    Raises:
        ValueError: several sequences at once.
    """
    layers = [module for module in model.modules() if isinstance(module, SelfAttention)]
    weights: dict[SelfAttention, Tensor] = {}

    def keep(layer: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(layer, SelfAttention)
        weights[layer] = _weights(layer, given[0], given[1])

    was_training = model.training
    model.eval()
    try:
        with ExitStack() as stack, torch.no_grad():
            for layer in layers:
                stack.callback(layer.register_forward_pre_hook(keep).remove)
            model(*inputs)
    finally:
        model.train(was_training)
    return [weights[layer] for layer in layers]


def _weights(layer: SelfAttention, hidden_states: Tensor, layout: Layout) -> Tensor:
    """`[T, width]` -> `[H, T, T]`."""
    if len(layout) != 1:
        raise ValueError(f"attention weights are shown for one input at a time, not for {len(layout)}")
    query, key, _ = layer.project(hidden_states, layout)
    key = key.repeat_interleave(layer.heads // layer.kv_heads, dim=1)
    scale = layer.rule.scale or 1 / math.sqrt(layer.head_width)
    scores = scale * query.float().transpose(0, 1) @ key.float().permute(1, 2, 0)
    if layer.relative is not None:
        scores = scores + layer.relative(layout)
    place = torch.arange(layout.tokens, device=scores.device)
    back = place[:, None] - place
    mask = layer.rule.mask
    hidden = (back < 0) & mask.causal
    if mask.window is not None:
        hidden = hidden | (back.abs() > mask.window)
    return scores.masked_fill(hidden, -math.inf).softmax(-1)


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """From which inputs each token's last vector comes, `[T, T]`, rows sum to 1 (Abnar and Zuidema 2020, section 3).

    A layer adds what it attends to to what was there, so its share is (A + I) / 2 with A the mean over heads; the
    product of the layers' shares goes through the whole stack.

    Args:
        weights: of each layer from the first, `[H, T, T]`.
    """
    total = torch.eye(weights[0].shape[-1], device=weights[0].device)
    for layer in weights:
        total = 0.5 * (layer.mean(0) + torch.eye(len(total), device=total.device)) @ total
    return total


def patch_map(model: Model, pixels: Tensor) -> Tensor:
    """How much of the class token comes from each patch by `rollout`, `[rows, columns]` of patches; sums to 1.

    Args:
        model: one that reads images, with the class token first.
        pixels: one picture as the model reads it, `[channels, height, width]`.

    Raises:
        ValueError: the model reads no images.
    """
    config = model.config
    if not isinstance(config, PatchConfig):
        raise ValueError(f"a {model.family.model_type} model reads no patches")
    share = rollout(attention_weights(model, pixels[None]))[0, 1:]
    return (share / share.sum()).view(config.grid)
