"""T5: every task is text to text (Raffel et al. 2020); v1.1 has gates and scores of its own (Shazeer 2020).

An encoder-decoder, pre-norm with RMSNorm (Zhang and Sennrich 2019), without biases; positions are one bias by distance
a stack, which its layers share; products of queries and keys are not scaled, the queries' weights begin smaller
instead. The scores of the words are products with the word table, of vectors scaled by 1 / sqrt(width); v1.1 and
Flan-T5 (Chung et al. 2022) have a matrix of its own for them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field, model_validator
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import EncoderDecoderConfig, Tokens
from patchword.models.encoder_decoders import encoder_decoder_ways_out, encoder_ways_out
from patchword.models.family import Family
from patchword.models.heads import NextTokenHead
from patchword.models.stems import WordEmbedding
from patchword.models.t5_names import CONFIG_NAMES, SCORES, WEIGHT_NAMES
from patchword.models.trunks import Encoder, EncoderDecoder
from patchword.nn.attention import BIDIRECTIONAL, CAUSAL, CrossAttention, SelfAttention
from patchword.nn.block import layers_of, pre_norm
from patchword.nn.config import Count, Positive
from patchword.nn.feedforward import FeedForward, GatedFeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.positions import RelativeBias
from patchword.nn.transformer import Transformer, initialise_unscaled


class T5Config(EncoderDecoderConfig):
    """Sizes of a T5."""

    vocab_size: Positive = 32128
    width: Positive = 512
    depth: Count = 6
    decoder_depth: Count = 6
    heads: Positive = 8
    hidden: Positive = 2048
    scaled: bool = True
    """Whether the vectors are multiplied by 1 / sqrt(width) before the scores of the words; not in v1.1."""
    head_size: Positive = 64
    activation: str = "relu"
    gated: bool = False
    """Whether the feed-forward part has gates (v1.1)."""
    norm_eps: float = 1e-6
    buckets: Positive = 32
    """Numbers per head for distances."""
    furthest: Positive = 128
    """All distances from here on share a number."""
    init_std: float = Field(1.0, gt=0.0)
    """All standard deviations of new weights are multiplied by it."""
    pad_token_id: int | None = 0
    eos_token_id: Tokens = 1

    @model_validator(mode="after")
    def _has_a_name(self) -> T5Config:
        if self.gated and self.activation == "gelu":
            raise ValueError("gates with the exact gelu have no name in T5's files; 'gelu_new' has")
        return self

    @property
    def projection(self) -> str:
        """The feed-forward part's name in files."""
        return f"gated-{self.activation.removesuffix('_new')}" if self.gated else self.activation


def _side(config: T5Config, words: nn.Embedding, *, decodes: bool) -> tuple[WordEmbedding, Transformer]:
    """The way in of one side, and its layers, which share a bias by distance."""
    norm = partial(RMSNorm, config.width, eps=config.norm_eps)
    relative = RelativeBias(config.heads, buckets=config.buckets, furthest=config.furthest, both_ways=not decodes)
    inner: dict[str, Any] = {"activation": config.activation, "bias": False, "dropout": config.dropout}
    heads: dict[str, Any] = {"head_width": config.head_width, "scale": 1.0, "dropout": config.attention_dropout}
    mask = CAUSAL if decodes else BIDIRECTIONAL
    layers = layers_of(
        attention=partial(SelfAttention, config.width, config.heads, relative=relative, mask=mask, bias=False, **heads),
        cross=partial(CrossAttention, config.width, config.heads, bias=False, **heads) if decodes else None,
        feedforward=partial(GatedFeedForward if config.gated else FeedForward, config.width, config.hidden, **inner),
        norm=norm,
        order=pre_norm,
        dropout=config.dropout,
    )
    depth = config.decoder_depth if decodes else config.depth
    return WordEmbedding(words, dropout=config.dropout), Transformer(depth, layers, norm, config.dropout)


class T5(EncoderDecoder):
    """Text to text; both stacks read with one word table."""

    def __init__(self, config: T5Config) -> None:
        words = nn.Embedding(config.vocab_size, config.width)
        reads, writes = _side(config, words, decodes=False), _side(config, words, decodes=True)
        super().__init__(*reads, *writes, start=config.decoder_start_token_id, max_length=config.max_length)


class T5Encoder(Encoder):
    """The first half."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(*_side(config, nn.Embedding(config.vocab_size, config.width), decodes=False))


def _next_token(config: T5Config, trunk: T5, classes: int) -> NextTokenHead:
    scale = config.width**-0.5 if config.scaled else 1.0
    return NextTokenHead(
        config.width, config.vocab_size, words=trunk.source.words if config.tied else None, scale=scale
    )


def _sizes(depth: int, width: int, heads: int, hidden: int, **more: Any) -> T5Config:
    return T5Config(depth=depth, decoder_depth=depth, width=width, heads=heads, hidden=hidden, **more)


_sizes_1_1 = partial(_sizes, activation="gelu_new", gated=True, tied=False, scaled=False)

_V1_1 = {
    "small": _sizes_1_1(8, 512, 6, 1024),
    "base": _sizes_1_1(12, 768, 12, 2048),
    "large": _sizes_1_1(24, 1024, 16, 2816),
    "xl": _sizes_1_1(24, 2048, 32, 5120),
    "xxl": _sizes_1_1(24, 4096, 64, 10240),
}

FAMILY = Family(
    model_type="t5",
    modality="text",
    config=T5Config,
    trunk=T5,
    prefix="transformer.",
    config_names=CONFIG_NAMES,
    required={"is_decoder": False, "tie_encoder_decoder": False},
    weight_names=WEIGHT_NAMES,
    ways_out={**encoder_decoder_ways_out("T5", _next_token, SCORES, bare=True), **encoder_ways_out("T5", T5Encoder)},
    begin=lambda model, config: initialise_unscaled(model, model.trunk.source.words, config.init_std),
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    },
    copies=("embed_tokens.weight",),
    # A table that no version has used.
    ignored=("EncDecAttention.relative_attention_bias.weight",),
    presets={
        "t5-small": _sizes(6, 512, 8, 2048),
        "t5-base": _sizes(12, 768, 12, 3072),
        "t5-large": _sizes(24, 1024, 16, 4096),
        "t5-3b": _sizes(24, 1024, 32, 16384, head_size=128),
        "t5-11b": _sizes(24, 1024, 128, 65536, head_size=128),
        **{f"{name}-{size}": config for name in ("t5-v1_1", "flan-t5") for size, config in _V1_1.items()},
        "t5-mini": _sizes_1_1(4, 256, 4, 640),
        "t5-tiny": _sizes_1_1(2, 128, 2, 320),
    },
    objective="span-corruption",
    tokenizer=TokenizerStyle(
        "unigram",
        special={"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
        after=("eos",),
        sentinels=100,  # transformers' T5Tokenizer would leave out the bytes, so it is not named
    ),
)
