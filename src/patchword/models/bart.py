"""BART: a text is damaged, read in both directions, and written again from left to right (Lewis et al. 2020).

An encoder-decoder with BERT's parts: post-norm layers with biases and GELU, learned positions and a norm on the
embeddings, in both stacks; one word table reads, writes and scores. What is written begins with the end token. A class
is read from the decoder, which reads the text along, at its last token.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from patchword.models import roberta
from patchword.models.config import EncoderDecoderConfig, Tokens
from patchword.models.encoder_decoders import CONFIG_NAMES, encoder_decoder_ways_out
from patchword.models.family import Family
from patchword.models.heads import ShiftedScores
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import EncoderDecoder
from patchword.models.weights import Batched, Names, Rows, weights_and_biases
from patchword.nn.attention import BIDIRECTIONAL, CAUSAL, CrossAttention, SelfAttention
from patchword.nn.block import layers_of, post_norm
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.feedforward import FeedForward
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer


class BartConfig(EncoderDecoderConfig):
    """Sizes of a BART."""

    vocab_size: Positive = 50265
    width: Positive = 1024
    depth: Count = 12
    heads: Positive = 16
    hidden: Positive = 4096
    max_length: Positive = 1024
    decoder_depth: Count = 12
    decoder_heads: Positive = 16
    decoder_hidden: Positive = 4096
    """Inner width of the decoder's feed-forward parts."""
    norm_eps: float = 1e-5
    attention_dropout: Probability = 0.0
    activation_dropout: Probability = 0.0
    """Inside the feed-forward parts, while training."""
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: Tokens = 2
    decoder_start_token_id: int = 2


def _side(config: BartConfig, words: nn.Embedding, *, decodes: bool) -> tuple[WordEmbedding, Transformer]:
    """The way in of one side, and its layers."""
    if decodes:
        depth, heads, hidden = config.decoder_depth, config.decoder_heads, config.decoder_hidden
    else:
        depth, heads, hidden = config.depth, config.heads, config.hidden
    norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps)
    positions = LearnedPositions(config.max_length, config.width, unused=2)
    inner: dict[str, Any] = {"activation": config.activation, "dropout": config.activation_dropout}
    mask = CAUSAL if decodes else BIDIRECTIONAL
    layers = layers_of(
        attention=partial(SelfAttention, config.width, heads, mask=mask, dropout=config.attention_dropout),
        cross=partial(CrossAttention, config.width, heads, dropout=config.attention_dropout) if decodes else None,
        feedforward=partial(FeedForward, config.width, hidden, **inner),
        norm=norm,
        order=post_norm,
        dropout=config.dropout,
    )
    return WordEmbedding(words, positions=positions, norm=norm(), dropout=config.dropout), Transformer(depth, layers)


class Bart(EncoderDecoder):
    """Reads in both directions, writes from left to right; norm after each sub-layer."""

    def __init__(self, config: BartConfig) -> None:
        words = nn.Embedding(config.vocab_size, config.width)
        reads, writes = _side(config, words, decodes=False), _side(config, words, decodes=True)
        super().__init__(*reads, *writes, start=config.decoder_start_token_id, max_length=config.max_length)


def _sizes(depth: int, width: int, heads: int) -> BartConfig:
    encoder: dict[str, Any] = {"depth": depth, "heads": heads, "hidden": 4 * width}
    decoder: dict[str, Any] = {f"decoder_{name}": size for name, size in encoder.items()}
    return BartConfig(width=width, **encoder, **decoder, attention_dropout=0.1, activation_dropout=0.1)


def _names(way_in: str, stack: str) -> Names:
    """Of one side."""
    layer: Names = {
        "attention.qkv": Rows(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        "attention.out": "self_attn.out_proj",
        "attention_norm": "self_attn_layer_norm",
        "cross.query": "encoder_attn.q_proj",
        "cross.key_value": Rows(("encoder_attn.k_proj", "encoder_attn.v_proj")),
        "cross.out": "encoder_attn.out_proj",
        "cross_norm": "encoder_attn_layer_norm",
        "feedforward.up": "fc1",
        "feedforward.down": "fc2",
        "feedforward_norm": "final_layer_norm",
    }
    return {
        f"{way_in}.positions.weight": f"{stack}.embed_positions.weight",
        **weights_and_biases({f"{way_in}.norm": f"{stack}.layernorm_embedding"}),
        **weights_and_biases(layer, f"{stack}.layers.{{i}}.", f"{stack}.layers.{{i}}."),
    }


FAMILY = Family(
    model_type="bart",
    modality="text",
    config=BartConfig,
    trunk=Bart,
    prefix="model.",
    config_names={
        **CONFIG_NAMES,
        "depth": "encoder_layers",
        "heads": "encoder_attention_heads",
        "hidden": "encoder_ffn_dim",
        "decoder_depth": "decoder_layers",
        "decoder_heads": "decoder_attention_heads",
        "decoder_hidden": "decoder_ffn_dim",
        "activation": "activation_function",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "activation_dropout": "activation_dropout",
        "init_std": "init_std",
        "max_length": "max_position_embeddings",
    },
    required={"scale_embedding": False, "tie_word_embeddings": True, "is_encoder_decoder": True},
    weight_names={"source.words.weight": "shared.weight", **_names("source", "encoder"), **_names("target", "decoder")},
    ways_out=encoder_decoder_ways_out(
        "Bart",
        lambda config, trunk, classes: ShiftedScores(
            config.width, config.vocab_size, words=trunk.source.words if config.tied else None
        ),
        {"scores.weight": "/lm_head.weight", "shift": Batched("/final_logits_bias")},
    ),
    aliases={
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    },
    # Of the first version, for families that have models of their own now; BART has these values.
    unread=frozenset(
        [
            "add_bias_logits",
            "add_final_layer_norm",
            "classif_dropout",
            "normalize_before",
            "normalize_embedding",
            "static_position_embeddings",
            "extra_pos_embeddings",
        ]
    ),
    labels=3,
    copies=("embed_tokens.weight",),
    # Numbers of versions.
    ignored=("encoder.version", "decoder.version"),
    presets={
        "bart-base": _sizes(6, 768, 12),
        "bart-large": _sizes(12, 1024, 16),
        "bart-mini": _sizes(4, 256, 4),
        "bart-tiny": _sizes(2, 128, 2),
    },
    objective="denoising",
    start="eos",
    tokenizer=replace(roberta.TOKENIZER, huggingface="BartTokenizer"),
)
