"""BART: a text is damaged, read in both directions, and written again from left to right (Lewis et al. 2020).

An encoder-decoder with BERT's parts: post-norm layers with biases and GELU, learned positions and a norm on the
embeddings, in both stacks; one word table reads, writes and scores. What is written begins with the end token. A class
is read from the decoder, which reads the text along, at its last token.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import EncoderDecoderConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, Features, LastToken, NextTokenHead, Pooler, SpanHead
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import EncoderDecoder
from patchword.models.weights import Batched, Rows
from patchword.nn.attention import CAUSAL, CrossAttention, SelfAttention
from patchword.nn.block import Block, DecoderBlock, post_norm
from patchword.nn.config import Positive, Probability
from patchword.nn.feedforward import FeedForward
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer


class BartConfig(EncoderDecoderConfig):
    """Sizes of a BART."""

    vocab_size: Positive = 50265
    max_length: Positive = 1024
    decoder_heads: Positive
    decoder_hidden: Positive
    """Inner width of the decoder's feed-forward parts."""
    norm_eps: float = 1e-5
    attention_dropout: Probability = 0.0
    activation_dropout: Probability = 0.0
    """Inside the feed-forward parts, while training."""
    classifier_dropout: Probability = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2
    decoder_start_token_id: int = 2


class Bart(EncoderDecoder):
    """Reads in both directions, writes from left to right; norm after each sub-layer."""

    def __init__(self, config: BartConfig) -> None:
        words = nn.Embedding(config.vocab_size, config.width)
        norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps)
        attention: dict[str, Any] = {"dropout": config.attention_dropout}
        rest: dict[str, Any] = {"norm": norm, "order": post_norm, "dropout": config.dropout}

        def embed() -> WordEmbedding:
            positions = LearnedPositions(config.max_length, config.width, unused=2)
            return WordEmbedding(words, positions=positions, norm=norm(), dropout=config.dropout)

        def feedforward(hidden: int) -> FeedForward:
            return FeedForward(config.width, hidden, activation=config.activation, dropout=config.activation_dropout)

        super().__init__(
            embed(),
            Transformer(
                config.depth,
                lambda layer: Block(
                    attention=SelfAttention(config.width, config.heads, **attention),
                    feedforward=feedforward(config.hidden),
                    **rest,
                ),
            ),
            embed(),
            Transformer(
                config.decoder_depth,
                lambda layer: DecoderBlock(
                    attention=SelfAttention(config.width, config.decoder_heads, mask=CAUSAL, **attention),
                    cross=CrossAttention(config.width, config.decoder_heads, **attention),
                    feedforward=feedforward(config.decoder_hidden),
                    **rest,
                ),
            ),
            start=config.decoder_start_token_id,
            max_length=config.max_length,
        )


class ShiftedScores(NextTokenHead):
    """Scores of the next word, and a number added to each that comes with the weights and is not learnt."""

    shift: Tensor

    def __init__(self, words: nn.Embedding) -> None:
        vocab_size, width = words.weight.shape
        super().__init__(width, vocab_size, words=words)
        self.register_buffer("shift", torch.zeros(vocab_size))

    def logits(self, tokens: Tensor) -> Tensor:
        """`[n, width]` -> `[n, vocab_size]`."""
        logits: Tensor = super().logits(tokens) + self.shift
        return logits


def _class(config: BartConfig, trunk: Bart, classes: int) -> ClassHead:
    pool = Pooler(config.width, token=LastToken(), dropout=config.classifier_dropout)
    return ClassHead(config.width, classes, pool=pool, dropout=config.classifier_dropout)


def _sizes(depth: int, width: int, heads: int) -> BartConfig:
    return BartConfig(
        width=width,
        depth=depth,
        heads=heads,
        hidden=4 * width,
        decoder_depth=depth,
        decoder_heads=heads,
        decoder_hidden=4 * width,
        attention_dropout=0.1,
        activation_dropout=0.1,
    )


def _names(ours: str, theirs: str) -> dict[str, Any]:
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}


def _joined(ours: str, theirs: str, parts: str) -> dict[str, Any]:
    return {
        f"{ours}.{kind}": Rows(tuple(f"{theirs}.{part}_proj.{kind}" for part in parts)) for kind in ("weight", "bias")
    }


def _stack_names(way_in: str, stack: str) -> dict[str, Any]:
    layer = f"{stack}.layers.{{i}}"
    return {
        f"{way_in}.positions.weight": f"{stack}.embed_positions.weight",
        **_names(f"{way_in}.norm", f"{stack}.layernorm_embedding"),
        **_joined(f"{layer}.attention.qkv", f"{layer}.self_attn", "qkv"),
        **_names(f"{layer}.attention.out", f"{layer}.self_attn.out_proj"),
        **_names(f"{layer}.attention_norm", f"{layer}.self_attn_layer_norm"),
        **_names(f"{layer}.feedforward.up", f"{layer}.fc1"),
        **_names(f"{layer}.feedforward.down", f"{layer}.fc2"),
        **_names(f"{layer}.feedforward_norm", f"{layer}.final_layer_norm"),
    }


_LAYER = "decoder.layers.{i}"

FAMILY = Family(
    model_type="bart",
    modality="text",
    config=BartConfig,
    trunk=Bart,
    prefix="model.",
    config_names={
        "width": "d_model",
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
        "classifier_dropout": "classifier_dropout",
        "init_std": "init_std",
        "vocab_size": "vocab_size",
        "max_length": "max_position_embeddings",
        "pad_token_id": "pad_token_id",
        "bos_token_id": "bos_token_id",
        "eos_token_id": "eos_token_id",
        "decoder_start_token_id": "decoder_start_token_id",
    },
    required={"scale_embedding": False, "tie_word_embeddings": True, "is_encoder_decoder": True},
    weight_names={
        "source.words.weight": "shared.weight",
        **_stack_names("source", "encoder"),
        **_stack_names("target", "decoder"),
        **_names(f"{_LAYER}.cross.query", f"{_LAYER}.encoder_attn.q_proj"),
        **_joined(f"{_LAYER}.cross.key_value", f"{_LAYER}.encoder_attn", "kv"),
        **_names(f"{_LAYER}.cross.out", f"{_LAYER}.encoder_attn.out_proj"),
        **_names(f"{_LAYER}.cross_norm", f"{_LAYER}.encoder_attn_layer_norm"),
    },
    ways_out={
        "features": WayOut("BartModel", lambda config, trunk, classes: Features(), bare=True),
        "next_token": WayOut(
            "BartForConditionalGeneration",
            lambda config, trunk, classes: ShiftedScores(trunk.source.words),
            {"shift": Batched("/final_logits_bias")},
        ),
        "class": WayOut(
            "BartForSequenceClassification",
            _class,
            {
                **_names("pool.dense", "/classification_head.dense"),
                **_names("scores", "/classification_head.out_proj"),
            },
        ),
        "span": WayOut(
            "BartForQuestionAnswering",
            lambda config, trunk, classes: SpanHead(config.width),
            _names("scores", "/qa_outputs"),
        ),
    },
    # Copies of the word table, and numbers of versions.
    ignored=("embed_tokens.weight", "encoder.version", "decoder.version"),
    presets={
        "bart-base": _sizes(6, 768, 12),
        "bart-large": _sizes(12, 1024, 16),
        "bart-mini": _sizes(4, 256, 4),
        "bart-tiny": _sizes(2, 128, 2),
    },
    objective="denoising",
    start="eos",
    tokenizer=TokenizerStyle(
        "bpe",
        special={
            "bos": "<s>",
            "pad": "<pad>",
            "eos": "</s>",
            "unk": "<unk>",
            "mask": "<mask>",
            "cls": "<s>",
            "sep": "</s>",
        },
        before=("bos",),
        after=("eos",),
        huggingface="BartTokenizer",
    ),
)
