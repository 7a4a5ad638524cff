"""A model as serving programs call it: rectangles of tokens with padding and a mask, or pictures, in; tensors out.

The model itself reads sequences end to end. Here padding is part of them, and attention is told not to look at it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from patchword.models.family import Model
from patchword.models.heads import SequenceHead
from patchword.models.stems import SegmentedEmbedding
from patchword.nn.attention import Attention, Mask, Rule
from patchword.nn.packing import BlockLayout, Layout, Packed

HIDDEN = ("last_hidden_state",)
"""What the core's vectors are called."""


class PaddedLayout(BlockLayout):
    """N sequences in a rectangle, padding on either side.

    Args:
        mask: `[N, L]`: 1 for a token, 0 for padding.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[0], 1, mask.device)
        self.mask = mask

    @cached_property
    def longest(self) -> int:
        """L."""
        return self.mask.shape[1]

    @cached_property
    def reach(self) -> int:
        """The last position of all, plus one."""
        return self.longest

    @cached_property
    def positions(self) -> Tensor:
        """`[N * L]`: each token's index within its own sequence; padding has that of a neighbour."""
        return (self.mask.cumsum(1) - 1).clamp(min=0).flatten()

    @cached_property
    def starts(self) -> Tensor:
        """`[N]`: the index of each sequence's first token."""
        return torch.arange(self.count, device=self.device) * self.longest + self.mask.argmax(1)

    @cached_property
    def ends(self) -> Tensor:
        """`[N]`: the index of each sequence's last token."""
        return self.starts + self.mask.sum(1) - 1

    def last_of(self, kept: Tensor) -> Tensor:
        """`[N * L]` bool -> `[N]`; padding is never kept."""
        return super().last_of(kept & self.mask.flatten().bool())

    def counted(self, kept: Tensor) -> Tensor:
        """`[N * L]` bool -> `[N * L]`; padding is never kept."""
        return super().counted(kept & self.mask.flatten().bool())

    def mean(self, values: Tensor) -> Tensor:
        """`[N * L, width]` -> `[N, width]`: the mean of each sequence's tokens."""
        weights = self.mask.to(values.dtype)[:, :, None]
        summed = (values.view(self.count, self.longest, -1) * weights).sum(1)
        return summed / weights.sum(1)


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, keys: Layout, rule: Rule, bias: Tensor | None
) -> Tensor:
    """softmax(scale q k^T + bias) v in one dense call, padding masked out; as `nn.attention.Attend` has it."""
    assert isinstance(layout, BlockLayout)
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    q, k, v = (
        heads.view(layout.count, layout.longest, *heads.shape[1:]).transpose(1, 2) for heads in (query, key, value)
    )
    # Spelled out, because what an exporter makes of the one call for it is longer and slower.
    products = (q * (rule.scale or q.shape[-1] ** -0.5)) @ k.transpose(2, 3)
    for added in (layout.once(rule.mask, lambda: _added(layout, rule.mask)), bias):
        if added is not None:
            products = products + added
    return (products.softmax(-1) @ v).transpose(1, 2).reshape(query.shape)


def _added(layout: BlockLayout, mask: Mask) -> Tensor | None:
    """What is added to the products of queries and keys: 0 or nearly minus infinity, `[N or 1, 1, L or 1, L]`.

    Minus infinity itself would make padding that sees nothing no number at all, and the tokens beside it after that.
    """
    visible = layout.mask.bool()[:, None, None] if isinstance(layout, PaddedLayout) else None
    if mask.causal or mask.window is not None:
        near = mask.matrix(layout.longest, layout.device)
        visible = near if visible is None else near & visible
    return None if visible is None else torch.where(visible, 0.0, torch.finfo(torch.float32).min)


class Padded(nn.Module):
    """What is put into a file for other programs.

    Args:
        model: is copied.
        outputs: what the numbers of its head are called, or `HIDDEN` for the vectors of the core.

    Attributes:
        inputs: names of what it is called with, in order, and of their axes that may have any size.
        axes: the same of what it gives.
    """

    def __init__(self, model: Model, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        for part in self.model.modules():
            if isinstance(part, Attention):
                part.attend = attend_padded
        self.outputs = outputs
        self.is_text = model.family.modality == "text"
        self.per_sequence = outputs != HIDDEN and isinstance(model.head, SequenceHead)
        self.inputs: Mapping[str, Mapping[int, str]] = (
            {name: {0: "batch_size", 1: "sequence_length"} for name in _text_inputs(model)}
            if self.is_text
            else {"pixel_values": {0: "batch_size"}}
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the model gives for a rectangle.

        Args:
            inputs: `input_ids`, `attention_mask` (and `token_type_ids`), each `[N, L]`; or `pixel_values`
                `[N, channels, height, width]`.

        Returns:
            of a class `[N, classes]`; otherwise `[N, L, ...]`.
        """
        if self.is_text:
            ids, mask, *kinds = inputs
            layout = PaddedLayout(mask)
            read: Packed | Tensor = Packed(ids.flatten(), layout, segments=kinds[0].flatten() if kinds else None)
        else:
            read = inputs[0]
        if self.outputs == HIDDEN:
            hidden = self.model.read(read)
            return (hidden.values.view(-1, hidden.layout.longest, hidden.values.shape[-1]),)
        values = self.model(read)
        if not self.per_sequence:
            values = values.view(ids.shape[0], ids.shape[1], -1)
        return (values,) if len(self.outputs) == 1 else values.unbind(-1)


def _text_inputs(model: Model) -> tuple[str, ...]:
    tells_apart = any(
        isinstance(part, SegmentedEmbedding) and part.segments.num_embeddings > 1 for part in model.modules()
    )
    return ("input_ids", "attention_mask", "token_type_ids")[: 2 + tells_apart]
