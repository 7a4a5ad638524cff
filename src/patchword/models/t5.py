"""T5: every task is text to text (Raffel et al. 2020); v1.1 has gates and scores of its own (Shazeer 2020).

An encoder-decoder, pre-norm with RMSNorm (Zhang and Sennrich 2019), without biases; positions are one bias by distance
a stack, which its layers share; products of queries and keys are not scaled, the queries' weights begin smaller
instead. The scores of the words are products with the word table, of vectors scaled by 1 / sqrt(width); v1.1 and
Flan-T5 (Chung et al. 2022) have a matrix of its own for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import EncoderDecoderConfig
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import ClassHead, Features, LastToken, NextTokenHead, Pooler, SpanHead, TokenClassHead
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Encoder, EncoderDecoder
from patchword.models.weights import Chosen, Rows, Same, Spare
from patchword.nn.attention import BIDIRECTIONAL, CAUSAL, CrossAttention, SelfAttention
from patchword.nn.block import Block, DecoderBlock, pre_norm
from patchword.nn.config import Positive, Probability
from patchword.nn.feedforward import FeedForward, GatedFeedForward
from patchword.nn.positions import RelativeBias
from patchword.nn.transformer import Transformer


class T5Config(EncoderDecoderConfig):
    """Sizes of a T5."""

    vocab_size: Positive = 32128
    head_size: Positive = 64
    activation: str = "relu"
    gated: bool = False
    """Whether the feed-forward part has gates (v1.1)."""
    norm_eps: float = 1e-6
    buckets: Positive = 32
    """Numbers per head for distances."""
    furthest: Positive = 128
    """All distances from here on share a number."""
    classifier_dropout: Probability = 0.0
    init_std: float = Field(1.0, gt=0.0)
    """All standard deviations of new weights are multiplied by it."""
    pad_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 1

    @model_validator(mode="after")
    def _has_a_name(self) -> T5Config:
        if self.gated and self.activation == "gelu":
            raise ValueError("gates with the exact gelu have no name in T5's files; 'gelu_new' has")
        return self

    @property
    def projection(self) -> str:
        """The feed-forward part's name in files."""
        name = "gelu" if self.gated and self.activation == "gelu_new" else self.activation
        return f"gated-{name}" if self.gated else name


def _stack(config: T5Config, *, decodes: bool) -> Transformer:
    """The layers of one side."""
    norm = partial(nn.RMSNorm, config.width, eps=config.norm_eps)
    relative = RelativeBias(config.heads, buckets=config.buckets, furthest=config.furthest, both_ways=not decodes)
    own = partial(SelfAttention, relative=relative, mask=CAUSAL if decodes else BIDIRECTIONAL)
    feedforward = GatedFeedForward if config.gated else FeedForward

    def attention(kind: Callable[..., nn.Module]) -> nn.Module:
        return kind(
            config.width,
            config.heads,
            head_width=config.head_width,
            scale=1.0,
            bias=False,
            dropout=config.attention_dropout,
        )

    def layer(number: int) -> nn.Module:
        kind = partial(DecoderBlock, cross=attention(CrossAttention)) if decodes else Block
        return kind(
            attention=attention(own),
            feedforward=feedforward(
                config.width, config.hidden, activation=config.activation, bias=False, dropout=config.dropout
            ),
            norm=norm,
            order=pre_norm,
            dropout=config.dropout,
        )

    return Transformer(config.decoder_depth if decodes else config.depth, layer, norm, config.dropout)


class T5(EncoderDecoder):
    """Text to text; both stacks read with one word table."""

    def __init__(self, config: T5Config) -> None:
        words = nn.Embedding(config.vocab_size, config.width)
        super().__init__(
            WordEmbedding(words, dropout=config.dropout),
            _stack(config, decodes=False),
            WordEmbedding(words, dropout=config.dropout),
            _stack(config, decodes=True),
            start=config.decoder_start_token_id,
            max_length=config.max_length,
        )


class T5Encoder(Encoder):
    """The first half."""

    def __init__(self, config: T5Config) -> None:
        words = nn.Embedding(config.vocab_size, config.width)
        super().__init__(WordEmbedding(words, dropout=config.dropout), _stack(config, decodes=False))


def begin(model: Any, config: T5Config) -> None:
    """Products keep the size of what goes in; queries are smaller by sqrt(D), as their products are not scaled.

    Words begin with deviation 1 (their code). Scores of their own begin like the shared ones, which are scaled.
    """
    for part in model.modules():
        match part:
            case nn.Linear():
                nn.init.normal_(part.weight, std=config.init_std / math.sqrt(part.in_features))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            case nn.RMSNorm():
                nn.init.constant_(part.weight, config.init_std)
            case RelativeBias():
                nn.init.normal_(part.table.weight, std=config.init_std / math.sqrt(config.width))
    with torch.no_grad():
        for part in model.modules():
            match part:
                case SelfAttention():
                    part.qkv.weight[: config.heads * config.head_width] /= math.sqrt(config.head_width)
                case CrossAttention():
                    part.query.weight /= math.sqrt(config.head_width)
    # At the end, because the scores may be this table.
    nn.init.normal_(model.trunk.source.words.weight, std=config.init_std)


def _next_token(config: T5Config, trunk: T5, classes: int) -> NextTokenHead:
    if not config.tied:
        return NextTokenHead(config.width, config.vocab_size)
    return NextTokenHead(config.width, config.vocab_size, words=trunk.source.words, scale=config.width**-0.5)


def _class(config: T5Config, trunk: T5, classes: int) -> ClassHead:
    pool = Pooler(config.width, token=LastToken(), dropout=config.classifier_dropout)
    return ClassHead(config.width, classes, pool=pool, dropout=config.classifier_dropout)


def _read_activation(raw: Mapping[str, Any]) -> str:
    name = str(raw.get("feed_forward_proj") or "relu")
    return "gelu_new" if name == "gated-gelu" else name.removeprefix("gated-")


def _own_scores(raw: Mapping[str, Any]) -> bool:
    """transformers 4 says that they are not tied; 5 says so of none, but that the vectors are not scaled."""
    return raw.get("tie_word_embeddings") is False or raw.get("scale_decoder_outputs") is False


def _sizes(depth: int, width: int, heads: int, hidden: int, head_size: int = 64, **more: Any) -> T5Config:
    return T5Config(
        depth=depth, decoder_depth=depth, width=width, heads=heads, hidden=hidden, head_size=head_size, **more
    )


_sizes_1_1 = partial(_sizes, activation="gelu_new", gated=True, tied=False)

_V1_1 = {
    "small": _sizes_1_1(8, 512, 6, 1024),
    "base": _sizes_1_1(12, 768, 12, 2048),
    "large": _sizes_1_1(24, 1024, 16, 2816),
    "xl": _sizes_1_1(24, 2048, 32, 5120),
    "xxl": _sizes_1_1(24, 4096, 64, 10240),
}


def _stack_names(stack: str, feedforward: int) -> dict[str, Any]:
    """Of one stack, whose feed-forward part is their sub-layer of that number."""
    ours, theirs = f"{stack}.layers.{{i}}.", f"{stack}.block.{{i}}.layer."
    own, dense = f"{theirs}0.SelfAttention.", f"{theirs}{feedforward}.DenseReluDense."
    return {
        f"{ours}attention.qkv.weight": Rows((f"{own}q.weight", f"{own}k.weight", f"{own}v.weight")),
        f"{ours}attention.out.weight": f"{own}o.weight",
        f"{ours}attention.relative.table.weight": f"{own}relative_attention_bias.weight",
        f"{ours}attention_norm.weight": f"{theirs}0.layer_norm.weight",
        f"{ours}feedforward.up.weight": Chosen(
            lambda config: bool(config.gated),
            Rows((f"{dense}wi_0.weight", f"{dense}wi_1.weight")),
            Same(f"{dense}wi.weight"),
        ),
        f"{ours}feedforward.down.weight": f"{dense}wo.weight",
        f"{ours}feedforward_norm.weight": f"{theirs}{feedforward}.layer_norm.weight",
        f"{stack}.norm.weight": f"{stack}.final_layer_norm.weight",
    }


_CROSS = "decoder.block.{i}.layer.1."

FAMILY = Family(
    model_type="t5",
    modality="text",
    config=T5Config,
    trunk=T5,
    prefix="transformer.",
    config_names={
        "width": "d_model",
        "depth": "num_layers",
        "decoder_depth": Key(
            lambda raw: raw.get("num_decoder_layers") or raw.get("num_layers"),
            lambda depth: {"num_decoder_layers": depth, "is_encoder_decoder": True},
        ),
        "heads": "num_heads",
        "head_size": "d_kv",
        "hidden": "d_ff",
        "activation": Key(_read_activation, lambda name: {}),
        "gated": Key(lambda raw: str(raw.get("feed_forward_proj")).startswith("gated-"), lambda gated: {}),
        "projection": Key(lambda raw: None, lambda name: {"feed_forward_proj": name}),
        "norm_eps": "layer_norm_epsilon",
        "buckets": "relative_attention_num_buckets",
        "furthest": "relative_attention_max_distance",
        "dropout": "dropout_rate",
        "attention_dropout": Key(
            lambda raw: raw.get("attention_dropout", raw.get("dropout_rate")), lambda rate: {"attention_dropout": rate}
        ),
        "classifier_dropout": "classifier_dropout",
        "init_std": "initializer_factor",
        "vocab_size": "vocab_size",
        "max_length": "n_positions",
        "tied": Key(lambda raw: not _own_scores(raw), lambda tied: {"tie_word_embeddings": tied}),
        "pad_token_id": "pad_token_id",
        "bos_token_id": "bos_token_id",
        "eos_token_id": "eos_token_id",
        "decoder_start_token_id": "decoder_start_token_id",
    },
    required={},
    weight_names={
        "source.words.weight": "shared.weight",
        **_stack_names("encoder", 1),
        **_stack_names("decoder", 2),
        "decoder.layers.{i}.cross.query.weight": f"{_CROSS}EncDecAttention.q.weight",
        "decoder.layers.{i}.cross.key_value.weight": Rows(
            (f"{_CROSS}EncDecAttention.k.weight", f"{_CROSS}EncDecAttention.v.weight")
        ),
        "decoder.layers.{i}.cross.out.weight": f"{_CROSS}EncDecAttention.o.weight",
        "decoder.layers.{i}.cross_norm.weight": f"{_CROSS}layer_norm.weight",
    },
    ways_out={
        "features": WayOut("T5Model", lambda config, trunk, classes: Features(), bare=True),
        "encoder": WayOut("T5EncoderModel", lambda config, trunk, classes: Features(), bare=True, trunk=T5Encoder),
        "next_token": WayOut(
            "T5ForConditionalGeneration",
            _next_token,
            {"scores.weight": Spare("lm_head.weight", "shared.weight")},
            bare=True,
        ),
        "class": WayOut(
            "T5ForSequenceClassification",
            _class,
            {
                "pool.dense.weight": "/classification_head.dense.weight",
                "pool.dense.bias": "/classification_head.dense.bias",
                "scores.weight": "/classification_head.out_proj.weight",
                "scores.bias": "/classification_head.out_proj.bias",
            },
        ),
        "token_class": WayOut(
            "T5ForTokenClassification",
            lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.classifier_dropout),
            {"scores.weight": "/classifier.weight", "scores.bias": "/classifier.bias"},
            trunk=T5Encoder,
        ),
        "span": WayOut(
            "T5ForQuestionAnswering",
            lambda config, trunk, classes: SpanHead(config.width),
            {"scores.weight": "/qa_outputs.weight", "scores.bias": "/qa_outputs.bias"},
            bare=True,
        ),
    },
    begin=begin,
    # Copies of the word table, and a table that no version has used.
    ignored=("embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight"),
    presets={
        "t5-small": _sizes(6, 512, 8, 2048),
        "t5-base": _sizes(12, 768, 12, 3072),
        "t5-large": _sizes(24, 1024, 16, 4096),
        "t5-3b": _sizes(24, 1024, 32, 16384, 128),
        "t5-11b": _sizes(24, 1024, 128, 65536, 128),
        **{f"t5-v1_1-{size}": config for size, config in _V1_1.items()},
        **{f"flan-t5-{size}": config for size, config in _V1_1.items()},
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
