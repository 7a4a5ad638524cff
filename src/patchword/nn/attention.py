"""Attention over packed sequences: each token sees its own sequence and nothing else.

Shapes: T tokens that look, S tokens that are looked at, H heads, G heads of keys and values, D numbers per head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.cache import KeyValues
from patchword.nn.packing import BlockLayout, Layout, Packed
from patchword.nn.positions import RelativeBias


@dataclass(frozen=True)
class Mask:
    """Which tokens of its own sequence a token sees.

    Args:
        causal: itself and earlier ones only.
        window: those at most so far away only.
    """

    causal: bool = False
    window: int | None = None

    def visible(self, length: int, device: torch.device) -> Tensor | None:
        """`[length, length]` bool, row t: what token t sees; None where `causal` says it all."""
        return None if self.window is None or self.window >= length - 1 else self.matrix(length, device)

    def matrix(self, length: int, device: torch.device) -> Tensor:
        """The same in full."""
        place = torch.arange(length, device=device)
        back = place[:, None] - place
        far = length if self.window is None else self.window
        return (back >= (0 if self.causal else -far)) & (back <= far)


BIDIRECTIONAL = Mask()
CAUSAL = Mask(causal=True)


@dataclass(frozen=True)
class Rule:
    """How a layer weighs what it looks at.

    Args:
        mask: what it sees.
        scale: of the products of queries and keys; 1 / sqrt(D) where None.
        dropout: on the weights.
    """

    mask: Mask = BIDIRECTIONAL
    scale: float | None = None
    dropout: float = 0.0


Attend = Callable[[Tensor, Tensor, Tensor, Layout, Layout, Rule, Tensor | None], Tensor]
"""(query `[T, H, D]`, key and value `[S, G, D]`, layout of T, layout of S, rule, bias) -> `[T, H, D]`.

The bias `[H, longest, longest]` is added to the products; entry (t, s) is for token t and what it sees at s.
"""


def attend_by_runs(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, keys: Layout, rule: Rule, bias: Tensor | None
) -> Tensor:
    """softmax(scale q k^T + bias) v within each sequence, one dense call for every run of equal lengths.

    The fastest on a CPU of five ways that were raced (`benchmarks/attention.py`), and one that computes no padded
    product. Works on any device.
    """
    runs = layout.runs(keys)
    outputs = []
    for (count, length, seen), q, k, v in zip(
        runs,
        torch.split(query, [count * length for count, length, _ in runs]),
        torch.split(key, [count * seen for count, _, seen in runs]),
        torch.split(value, [count * seen for count, _, seen in runs]),
        strict=True,
    ):
        mask = _dense_mask(layout, length, seen, rule.mask, bias)
        out = F.scaled_dot_product_attention(
            q.view(count, length, *q.shape[1:]).transpose(1, 2),
            k.view(count, seen, *k.shape[1:]).transpose(1, 2),
            v.view(count, seen, *v.shape[1:]).transpose(1, 2),
            attn_mask=mask,
            is_causal=rule.mask.causal and mask is None,
            dropout_p=rule.dropout,
            scale=rule.scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        outputs.append(out.transpose(1, 2).reshape(q.shape))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _dense_mask(layout: Layout, length: int, seen: int, mask: Mask, bias: Tensor | None) -> Tensor | None:
    visible = layout.once((mask, length), lambda: mask.visible(length, layout.device))
    if bias is None:
        return visible
    bias = bias[:, :length, :seen]
    if visible is None and mask.causal:
        visible = layout.once((mask, length, "bias"), lambda: torch.ones(length, seen, device=bias.device).tril() > 0)
    return bias if visible is None else bias.masked_fill(~visible, -torch.inf)


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, layout: Layout, rule: Rule) -> Tensor:
    """`[T, H, D]`: softmax(scale q k^T) v of sequences that are equally long; all weights `[N, H, L, L]` at once."""
    block = len(query) // layout.longest, layout.longest, *query.shape[1:]
    query, key, value = (part.view(block).transpose(1, 2) for part in (query, key, value))
    weights = F.dropout(((rule.scale or query.shape[3] ** -0.5) * query @ key.mT).softmax(-1), rule.dropout)
    return (weights @ value).transpose(1, 2).flatten(0, 1)


AT_ONCE = 512  # tokens of a sequence of which all weights may be there: a quarter of what else a layer keeps


def attend_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, keys: Layout, rule: Rule, bias: Tensor | None
) -> Tensor:
    """The same on a CPU, in fp32 whatever comes in: its attention kernel takes six times as long backwards in bf16.

    But for pictures: in bf16 the equation as it is written takes a third of that time (197 tokens, AVX-512). Texts
    have ever new sizes, for each of which code would be made: a bert-mini learnt half as many tokens a second so.
    """
    with torch.autocast("cpu", enabled=False):
        plain = rule.mask == BIDIRECTIONAL and bias is None and query.shape == key.shape
        if plain and isinstance(layout, BlockLayout) and layout.longest <= AT_ONCE and query.dtype == torch.bfloat16:
            return attend_in_blocks(query, key, value, layout, rule)
        bias = None if bias is None else bias.float()
        output = attend_by_runs(query.float(), key.float(), value.float(), layout, keys, rule, bias)
    return output.to(query.dtype)


def attend_variable_length(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, keys: Layout, rule: Rule, bias: Tensor | None
) -> Tensor:
    """The same on CUDA in one kernel: FlashAttention for variable lengths, in half precision.

    It has neither fp32 nor dropout on the attention weights nor a bias; there the dense calls take over.
    """
    if rule.dropout > 0.0 or bias is not None or query.dtype not in (torch.bfloat16, torch.float16):
        return attend_by_runs(query, key, value, layout, keys, rule, bias)
    from torch.nn.attention.varlen import varlen_attn  # with it comes torch's compiler: a second, on a CPU for nothing

    window = -1 if rule.mask.window is None else rule.mask.window
    output = varlen_attn(
        query,
        key,
        value,
        layout.cu_seqlens,
        keys.cu_seqlens,
        layout.longest,
        keys.longest,
        scale=rule.scale,
        window_size=(window, 0 if rule.mask.causal else window),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor)
    return output


def attention_for(device: torch.device) -> Attend:
    """The fastest way to attend on a device; asked once, when a layer is built."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return attend_variable_length
    return attend_on_cpu if device.type == "cpu" else attend_by_runs


class Unmoved(nn.Module):
    """Queries and keys as they are: positions came in with the tokens, or in a bias."""

    def forward(self, heads: Tensor, layout: Layout) -> Tensor:
        """`[T, H, D]` -> the same."""
        return heads


class Attention(nn.Module):
    """What self-attention and cross-attention share: heads, a rule, and the way to attend.

    Args:
        width: numbers per token.
        heads: H.
        head_width: D; width / heads where None.
        mask: what a token sees.
        scale: of the products of queries and keys; 1 / sqrt(D) where None.
        bias: whether the projections in and the one out add one.
        dropout: on the attention weights, while training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        head_width: int | None,
        mask: Mask,
        scale: float | None,
        bias: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(f"width {width} can not be shared equally among {heads} heads")
        self.heads = heads
        self.head_width = head_width or width // heads
        self.out = nn.Linear(heads * self.head_width, width, bias=bias)
        self.attend = attention_for(torch.get_default_device())
        self.learning = Rule(mask, scale, dropout)
        self.using = Rule(mask, scale)

    @property
    def rule(self) -> Rule:
        """How it weighs at this moment: dropout is for learning."""
        return self.learning if self.training else self.using


class SelfAttention(Attention):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2), with shared keys (Ainslie et al. 2023) or not.

    softmax(q k^T / sqrt(D)) v, with q, k, v from one product x W^T, and an output projection.

    Args:
        width, heads, head_width, mask, scale, bias, dropout: as in `Attention`.
        kv_heads: G, heads of keys and values; as many as `heads` where None.
        positions: called with queries or keys `[T, H, D]` and the layout; turns them, or leaves them as they are.
        norm: makes a norm over D for the queries, and one for the keys; none where None (Qwen3).
        relative: a bias by distance; layers share one (T5).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_width: int | None = None,
        mask: Mask = BIDIRECTIONAL,
        scale: float | None = None,
        positions: nn.Module | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        relative: RelativeBias | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width, heads, head_width=head_width, mask=mask, scale=scale, bias=bias, dropout=dropout)
        self.kv_heads = kv_heads or heads
        self.qkv = nn.Linear(width, (heads + 2 * self.kv_heads) * self.head_width, bias=bias)
        self.positions = positions or Unmoved()
        self.query_norm = norm(self.head_width) if norm else nn.Identity()
        self.key_norm = norm(self.head_width) if norm else nn.Identity()
        self.relative = relative

    def project(self, hidden_states: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """`[T, width]` -> queries `[T, H, D]`, keys and values `[T, G, D]`, as they are compared."""
        parts = self.qkv(hidden_states).view(hidden_states.shape[0], -1, self.head_width)
        query, key, value = parts.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        query = self.positions(self.query_norm(query), layout)
        return query, self.positions(self.key_norm(key), layout), value

    def forward(self, hidden_states: Tensor, layout: Layout, cache: KeyValues | None = None) -> Tensor:
        """`[T, width]` -> `[T, width]`; with a cache, tokens see those that were read before as well."""
        query, key, value = self.project(hidden_states, layout)
        goes_on = cache is not None and cache.holds_any
        if cache is not None:
            window = self.rule.mask.window
            cache.add(key, value, layout, None if window is None else window + 1)
        if cache is not None and goes_on:
            bias = self.relative.rows(layout, cache.longest) if self.relative is not None else None
            attended = cache.look(query, self.rule.scale, bias)
        else:
            bias = self.relative(layout) if self.relative is not None else None
            attended = self.attend(query, key, value, layout, layout, self.rule, bias)
        output: Tensor = self.out(attended.reshape(hidden_states.shape[0], -1))
        return output


class CrossAttention(Attention):
    """Tokens of one sequence look at those of another (Vaswani et al. 2017, section 3.2.3).

    Args:
        width, heads, head_width, scale, bias, dropout: as in `Attention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        head_width: int | None = None,
        scale: float | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            width, heads, head_width=head_width, mask=BIDIRECTIONAL, scale=scale, bias=bias, dropout=dropout
        )
        self.query = nn.Linear(width, heads * self.head_width, bias=bias)
        self.key_value = nn.Linear(width, 2 * heads * self.head_width, bias=bias)

    def forward(
        self, hidden_states: Tensor, layout: Layout, memory: Packed | None, cache: KeyValues | None = None
    ) -> Tensor:
        """`[T, width]` -> `[T, width]`; `memory` is the other sequences, needed once where there is a cache."""
        query = self.query(hidden_states).view(hidden_states.shape[0], self.heads, self.head_width)
        if cache is not None and cache.holds_any:
            attended = cache.look(query, self.rule.scale, None)
        else:
            assert memory is not None
            parts = self.key_value(memory.values).view(memory.values.shape[0], 2, self.heads, self.head_width)
            key, value = parts.unbind(1)
            if cache is not None:
                cache.add(key, value, memory.layout)
            attended = self.attend(query, key, value, layout, memory.layout, self.rule, None)
        output: Tensor = self.out(attended.reshape(hidden_states.shape[0], -1))
        return output
