"""One layer: attention, then feed-forward, each with a norm and a way around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from patchword.nn.cache import LayerCache
from patchword.nn.packing import Layout, Packed

SubLayer = Callable[[Tensor], Tensor]
Order = Callable[[Tensor, nn.Module, SubLayer], Tensor]


def post_norm(x: Tensor, norm: nn.Module, sublayer: SubLayer) -> Tensor:
    """norm(x + f(x)): the original Transformer, BERT, GPT-1 (Vaswani et al. 2017, section 3.1)."""
    output: Tensor = norm(x + sublayer(x))
    return output


def pre_norm(x: Tensor, norm: nn.Module, sublayer: SubLayer) -> Tensor:
    """x + f(norm(x)): ViT, GPT-2 and most since (Xiong et al. 2020)."""
    return x + sublayer(norm(x))


class Block(nn.Module):
    """A Transformer layer from its parts.

    Args:
        attention: called with `(hidden_states, layout, cache)`.
        feedforward: called with `hidden_states`.
        norm: makes one norm; called for each sub-layer.
        order: `pre_norm` or `post_norm`.
        dropout: on what each sub-layer adds, while training.
        first_norm: the norm of the attention, where it is another one.
    """

    def __init__(
        self,
        *,
        attention: nn.Module,
        feedforward: nn.Module,
        norm: Callable[[], nn.Module],
        order: Order,
        dropout: float = 0.0,
        first_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = first_norm or norm()
        self.feedforward = feedforward
        self.feedforward_norm = norm()
        self.order = order
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden_states: Tensor, layout: Layout, memory: Packed | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """`[T, width]` -> `[T, width]`. It has no use for a memory."""
        own = cache.own if cache else None
        hidden_states = self.order(
            hidden_states, self.attention_norm, lambda x: self.dropout(self.attention(x, layout, own))
        )
        return self.order(hidden_states, self.feedforward_norm, lambda x: self.dropout(self.feedforward(x)))


class DecoderBlock(Block):
    """A layer that looks at other sequences as well, between its own attention and the feed-forward part.

    Args:
        cross: called with `(hidden_states, layout, memory, cache)`.
        The rest is `Block`'s.
    """

    def __init__(
        self,
        *,
        attention: nn.Module,
        cross: nn.Module,
        feedforward: nn.Module,
        norm: Callable[[], nn.Module],
        order: Order,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(attention=attention, feedforward=feedforward, norm=norm, order=order, dropout=dropout)
        self.cross = cross
        self.cross_norm = norm()

    def forward(
        self, hidden_states: Tensor, layout: Layout, memory: Packed | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """`[T, width]` and the sequences that are looked at -> `[T, width]`."""
        own, other = (cache.own, cache.other) if cache else (None, None)
        hidden_states = self.order(
            hidden_states, self.attention_norm, lambda x: self.dropout(self.attention(x, layout, own))
        )
        hidden_states = self.order(
            hidden_states, self.cross_norm, lambda x: self.dropout(self.cross(x, layout, memory, other))
        )
        return self.order(hidden_states, self.feedforward_norm, lambda x: self.dropout(self.feedforward(x)))


def layers_of(
    *,
    attention: Callable[[], nn.Module],
    feedforward: Callable[[], nn.Module],
    cross: Callable[[], nn.Module] | None = None,
    **rest: Any,
) -> Callable[[int], nn.Module]:
    """What makes a layer of any number, from what makes its parts.

    Args:
        attention: makes the attention of a layer.
        feedforward: makes its feed-forward part.
        cross: makes what looks at other sequences, in layers that do.
        rest: as in `Block`.
    """

    def layer(number: int) -> nn.Module:
        own: dict[str, Any] = {"attention": attention(), "feedforward": feedforward(), **rest}
        return DecoderBlock(cross=cross(), **own) if cross else Block(**own)

    return layer
