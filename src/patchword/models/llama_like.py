"""What Llama, Mistral, Mixtral and Qwen3 have in common: nearly all (Touvron et al. 2023, section 2.2).

Pre-norm layers with RMSNorm and no biases, rotary positions, a gated feed-forward with SiLU; keys and values can be
shared by several heads. Each family says in its own file what it has otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import Field, model_validator
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import ways_out
from patchword.models.config import GenerativeConfig
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import NextTokenHead
from patchword.models.rotation import ROTATION
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder
from patchword.models.weights import Names, Rows, heads_rows
from patchword.nn.attention import CAUSAL, Mask, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Positive, Probability
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.positions import Rotary, Scaling
from patchword.nn.transformer import Transformer


class LlamaConfig(GenerativeConfig):
    """Sizes of a Llama."""

    kv_heads: Positive
    vocab_size: Positive = 32000
    max_length: Positive = 2048
    activation: str = "silu"
    norm_eps: float = Field(1e-6, gt=0.0)
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tied: bool = False
    rotary_base: float = Field(10000.0, gt=0.0)
    """The slowest pair of a head turns by about 1 / rotary_base a token."""
    rotary_scaling: Scaling | None = None
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


GATED: Names = {
    "decoder.layers.{i}.feedforward.up.weight": Rows(
        ("layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.up_proj.weight")
    ),
    "decoder.layers.{i}.feedforward.down.weight": "layers.{i}.mlp.down_proj.weight",
}
"""The weights of a `GatedFeedForward`."""


def llama_like(
    model_type: str,
    name: str,
    *,
    config: type[LlamaConfig],
    trunk: type[Llama],
    presets: Mapping[str, LlamaConfig],
    tokenizer: TokenizerStyle,
    config_names: Mapping[str, str | Key] | None = None,
    required: Mapping[str, Any] | None = None,
    weight_names: Names = GATED,
    span_prefix: str | None = None,
) -> Family:
    """A family whose files are called as Llama's are.

    Args:
        model_type, config, trunk, presets, tokenizer, required: as in `Family`.
        name: what its classes begin with ("Llama").
        config_names: of the fields that Llama has not, or has otherwise.
        weight_names: of the feed-forward part, and of what Llama has not.
        span_prefix: what the trunk is called beside a span head, where that is not "model.".
    """
    return Family(
        model_type=model_type,
        modality="text",
        config=config,
        trunk=trunk,
        prefix="model.",
        config_names={
            "width": "hidden_size",
            "depth": "num_hidden_layers",
            "heads": "num_attention_heads",
            "kv_heads": Key(
                lambda raw: raw.get("num_key_value_heads") or raw.get("num_attention_heads"),
                lambda heads: {"num_key_value_heads": heads},
            ),
            "head_size": "head_dim",
            "hidden": "intermediate_size",
            "activation": "hidden_act",
            "norm_eps": "rms_norm_eps",
            # The only dropout besides that of the attention that transformers knows here: before the scores of a token.
            "dropout": "hidden_dropout",
            "attention_dropout": "attention_dropout",
            "init_std": "initializer_range",
            "vocab_size": "vocab_size",
            "max_length": "max_position_embeddings",
            "pad_token_id": "pad_token_id",
            "bos_token_id": "bos_token_id",
            "eos_token_id": "eos_token_id",
            "tied": "tie_word_embeddings",
            **ROTATION,
            **(config_names or {}),
        },
        required=required or {},
        weight_names={
            "embed.words.weight": "embed_tokens.weight",
            "decoder.layers.{i}.attention_norm.weight": "layers.{i}.input_layernorm.weight",
            "decoder.layers.{i}.attention.qkv.weight": Rows(
                tuple(f"layers.{{i}}.self_attn.{part}_proj.weight" for part in "qkv"), sizes=heads_rows
            ),
            "decoder.layers.{i}.attention.out.weight": "layers.{i}.self_attn.o_proj.weight",
            "decoder.layers.{i}.feedforward_norm.weight": "layers.{i}.post_attention_layernorm.weight",
            "decoder.norm.weight": "norm.weight",
            **weight_names,
        },
        ways_out={
            "features": ways_out.features(f"{name}Model"),
            "next_token": WayOut(
                f"{name}ForCausalLM",
                lambda config, trunk, classes: NextTokenHead(
                    config.width, config.vocab_size, words=trunk.embed.words if config.tied else None
                ),
                {"scores.weight": "/lm_head.weight"},
            ),
            "class": ways_out.last_token_class(f"{name}ForSequenceClassification"),
            "token_class": ways_out.token_class(f"{name}ForTokenClassification", scores="/score"),
            "span": ways_out.span(f"{name}ForQuestionAnswering", prefix=span_prefix),
        },
        presets=presets,
        # A constant that old versions of transformers wrote among the weights.
        ignored=(".rotary_emb.inv_freq",),
        objective="causal-lm",
        tokenizer=tokenizer,
    )


SENTENCEPIECE = TokenizerStyle("unigram", special={"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, before=("bos",))
"""Pieces of text with bytes for rare letters; a text begins with <s>."""
