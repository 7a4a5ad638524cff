"""The layers that Llama, Mistral, Mixtral and Qwen3 have in common (Touvron et al. 2023, section 2.2).

Pre-norm layers with RMSNorm and no biases, rotary positions, a gated feed-forward with SiLU; keys and values can be
shared by several heads. Each family says in its own file what it has otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from torch import nn

from patchword.models.config import GenerativeConfig, Tokens
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder
from patchword.nn.attention import CAUSAL, Mask, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.positions import Rotary, Scaling
from patchword.nn.transformer import Transformer

_FROM_DICT = BeforeValidator(lambda value: Scaling(**value) if isinstance(value, dict) else value)


class LlamaConfig(GenerativeConfig):
    """Sizes of a Llama."""

    width: Positive = 4096
    depth: Count = 32
    heads: Positive = 32
    kv_heads: Positive = 32
    hidden: Positive = 11008
    vocab_size: Positive = 32000
    max_length: Positive = 2048
    activation: str = "silu"
    norm_eps: float = Field(1e-6, gt=0.0)
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    bos_token_id: int | None = 1
    eos_token_id: Tokens = 2
    tied: bool = False
    rotary_base: float = Field(10000.0, gt=0.0)
    """The slowest pair of a head turns by about 1 / rotary_base a token."""
    rotary_scaling: Annotated[Scaling | None, _FROM_DICT] = None
    """Slows the turning for texts longer than those of pretraining."""

    @model_validator(mode="after")
    def _heads_have_pairs(self) -> LlamaConfig:
        if self.head_width % 2:
            raise ValueError(f"heads of {self.head_width} numbers have no pairs to turn; their width must be even")
        return self


def gated(config: LlamaConfig) -> nn.Module:
    """The feed-forward part of a layer."""
    return GatedFeedForward(config.width, config.hidden, activation=config.activation, bias=False)


class Llama(Decoder):
    """Words from left to right; a position is an angle.

    Args:
        config: the sizes.
        mask: which words a word sees.
        head_norm: makes a norm of each head's queries and keys; none where None.
        feedforward: makes the feed-forward part of a layer.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        mask: Mask = CAUSAL,
        head_norm: Callable[[int], nn.Module] | None = None,
        feedforward: Callable[[Any], nn.Module] = gated,
    ) -> None:
        norm = partial(RMSNorm, config.width, eps=config.norm_eps)
        super().__init__(
            WordEmbedding(nn.Embedding(config.vocab_size, config.width), dropout=config.dropout),
            Transformer(
                config.depth,
                lambda layer: Block(
                    attention=SelfAttention(
                        config.width,
                        config.heads,
                        kv_heads=config.kv_heads,
                        head_width=config.head_width,
                        mask=mask,
                        positions=Rotary(config.head_width, config.rotary_base, config.rotary_scaling),
                        norm=head_norm,
                        bias=False,
                        dropout=config.attention_dropout,
                    ),
                    feedforward=feedforward(config),
                    norm=norm,
                    order=pre_norm,
                    dropout=config.dropout,
                ),
                norm,
            ),
            config.max_length,
        )
