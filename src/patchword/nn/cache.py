"""Keys and values of what has been read: a token that is generated is computed once.

Shapes: N sequences, H heads, G heads of keys and values, D numbers per head, S slots.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from patchword.nn.packing import Layout


class KeyValues:
    """What one attention layer has read of each sequence.

    A sequence's token t is in slot t; where a layer sees the last S tokens only, in slot t mod S, so that the memory
    of a sliding window is bounded by the window. (Keys are turned by their positions before they are kept, and a
    softmax does not ask for an order.)

    Args:
        capacity: tokens that a sequence will have at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.lengths: tuple[int, ...] = ()
        self.keys = self.values = torch.empty(0)

    @property
    def holds_any(self) -> bool:
        """Whether anything has been read."""
        return bool(self.lengths)

    @property
    def longest(self) -> int:
        """Slots in use."""
        return min(max(self.lengths), self.keys.shape[2])

    def add(self, key: Tensor, value: Tensor, layout: Layout, window: int | None = None) -> None:
        """Keep what tokens of `layout` offer, `[T, G, D]`; of each sequence the last `window` at most."""
        if not self.holds_any:
            slots = self.capacity if window is None else min(self.capacity, window)
            shape = (len(layout), key.shape[1], slots, key.shape[2])
            self.keys, self.values = key.new_zeros(shape), value.new_zeros(shape)
            self.lengths = (0,) * len(layout)
        self.lengths = tuple(a + b for a, b in zip(self.lengths, layout.lengths, strict=True))
        slots = self.keys.shape[2]
        if layout.longest > slots:
            # Of more tokens than there are slots, the last ones stay.
            ends = torch.tensor(self.lengths, device=layout.device)[layout.sequence_ids]
            stays = layout.positions >= ends - slots
            at = (layout.sequence_ids[stays], layout.positions[stays] % slots)
            key, value = key[stays], value[stays]
        else:
            at = layout.once(("slots", slots), lambda: (layout.sequence_ids, layout.positions % slots))
        self.keys[at[0], :, at[1]] = key.to(self.keys.dtype)
        self.values[at[0], :, at[1]] = value.to(self.values.dtype)

    def look(self, query: Tensor, scale: float | None, bias: Tensor | None) -> Tensor:
        """One new token of each sequence, `[N, H, D]`, looks at all that is kept of it -> `[N, H, D]`.

        Args:
            scale: of the products; 1 / sqrt(D) where None.
            bias: `[N or 1, H, S]`, added to the products.
        """
        if len(query) != len(self.lengths):
            raise ValueError(f"{len(query)} new tokens for {len(self.lengths)} sequences; it takes one each")
        slots = self.longest
        mask = None if bias is None else bias[:, :, None]
        if min(self.lengths) < slots:
            used = torch.tensor(self.lengths, device=query.device)[:, None] > torch.arange(slots, device=query.device)
            used = used[:, None, None]
            mask = used if mask is None else mask.masked_fill(~used, -torch.inf)
        keys, values = self.keys[:, :, :slots], self.values[:, :, :slots]
        groups = keys.shape[1]
        if mask is None and groups != query.shape[1]:
            # Heads that share their keys look at them like several tokens of one head.
            grouped = query.view(len(query), groups, -1, query.shape[2])
            return F.scaled_dot_product_attention(grouped, keys, values, scale=scale).reshape(query.shape)
        return F.scaled_dot_product_attention(
            query[:, :, None], keys, values, attn_mask=mask, scale=scale, enable_gqa=groups != query.shape[1]
        )[:, :, 0]

    def select(self, rows: Tensor) -> None:
        """Go on with other sequences: the new n-th is what the `rows[n]`-th was."""
        if self.holds_any:
            self.keys, self.values = self.keys[rows], self.values[rows]
            self.lengths = tuple(self.lengths[row] for row in rows.tolist())


class LayerCache:
    """Of one layer: what its own sequences said, and what the others said that it looks at.

    Args:
        capacity: tokens that a sequence will have at most.
        memory: the same for the sequences that are looked at.
    """

    def __init__(self, capacity: int, memory: int = 0) -> None:
        self.own = KeyValues(capacity)
        self.other = KeyValues(memory)


class Cache:
    """Of a stack of layers.

    Args:
        depth: layers.
        capacity: tokens that a sequence will have at most.
        memory: tokens of the longest sequence that is looked at by cross-attention.
    """

    def __init__(self, depth: int, capacity: int, memory: int = 0) -> None:
        self.layers = [LayerCache(capacity, memory) for _ in range(depth)]

    def select(self, rows: Tensor) -> None:
        """Go on with other sequences: the new n-th is what the `rows[n]`-th was."""
        for layer in self.layers:
            layer.own.select(rows)
            layer.other.select(rows)
