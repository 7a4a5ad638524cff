"""GPT-2: words from left to right (Radford et al. 2019, section 2.3 and table 2).

Pre-norm layers with biases and GELU (its tanh form); learned positions; a norm at the end; the word table is also the
scores of the next word. Weights of what is added to the residual stream begin smaller, by 1 / sqrt(2 x depth).
"""

from __future__ import annotations

from functools import partial

from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import ways_out
from patchword.models.config import GENERATIVE_NAMES, GenerativeConfig, Tokens
from patchword.models.config_file import ConfigFile
from patchword.models.family import Family, Key, WayOut, causal_only, repeated
from patchword.models.heads import NextTokenHead
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder
from patchword.models.weights import Transposed, weights_and_biases
from patchword.nn.attention import CAUSAL, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Count, Positive
from patchword.nn.feedforward import FeedForward
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer, initialise_residual


class GPT2Config(GenerativeConfig):
    """Sizes of a GPT-2."""

    vocab_size: Positive = 50257
    max_length: Positive = 1024
    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    activation: str = "gelu_new"
    norm_eps: float = 1e-5
    bos_token_id: int | None = 50256
    eos_token_id: Tokens = 50256


class GPT2(Decoder):
    """Words from left to right, norm before each sub-layer."""

    def __init__(self, config: GPT2Config) -> None:
        norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps)
        super().__init__(
            WordEmbedding(
                nn.Embedding(config.vocab_size, config.width),
                positions=LearnedPositions(config.max_length, config.width),
                dropout=config.dropout,
            ),
            Transformer(
                config.depth,
                lambda layer: Block(
                    attention=SelfAttention(config.width, config.heads, mask=CAUSAL, dropout=config.attention_dropout),
                    feedforward=FeedForward(config.width, config.hidden, activation=config.activation),
                    norm=norm,
                    order=pre_norm,
                    dropout=config.dropout,
                ),
                norm,
            ),
            config.max_length,
        )


def _hidden(raw: ConfigFile) -> int:
    inner, width = raw.whole("n_inner"), raw.whole("n_embd")
    return 4 * (768 if width is None else width) if inner is None else inner


def _sizes(depth: int, width: int, heads: int) -> GPT2Config:
    return GPT2Config(depth=depth, width=width, heads=heads, hidden=4 * width)


def next_token(config: GenerativeConfig, trunk: GPT2, classes: int) -> NextTokenHead:
    """Scores of the next word."""
    return NextTokenHead(config.width, config.vocab_size, words=trunk.embed.words if config.tied else None)


ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
# Of a head that is not here; of old versions; the order of operations, which in fp32 is the same.
UNREAD = frozenset(
    [
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_first_dropout",
        "n_ctx",
        "reorder_and_upcast_attn",
        "predict_special_tokens",
    ]
)

FAMILY = Family(
    model_type="gpt2",
    modality="text",
    config=GPT2Config,
    trunk=GPT2,
    prefix="transformer.",
    config_names={
        "width": "n_embd",
        "depth": "n_layer",
        "heads": "n_head",
        "hidden": Key(_hidden, lambda hidden: {"n_inner": hidden}),
        "activation": "activation_function",
        "norm_eps": "layer_norm_epsilon",
        "dropout": repeated("resid_pdrop", "embd_pdrop"),
        "attention_dropout": "attn_pdrop",
        "init_std": "initializer_range",
        **GENERATIVE_NAMES,
        "max_length": "n_positions",
    },
    required={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    aliases=ALIASES,
    unread=UNREAD,
    check=causal_only,
    weight_names={
        "embed.words.weight": "wte.weight",
        "embed.positions.weight": "wpe.weight",
        **weights_and_biases(
            {
                "attention_norm": "ln_1",
                "attention.qkv": Transposed("attn.c_attn"),
                "attention.out": Transposed("attn.c_proj"),
                "feedforward_norm": "ln_2",
                "feedforward.up": Transposed("mlp.c_fc"),
                "feedforward.down": Transposed("mlp.c_proj"),
            },
            "decoder.layers.{i}.",
            "h.{i}.",
        ),
        **weights_and_biases({"decoder.norm": "ln_f"}),
    },
    ways_out={
        "features": ways_out.features("GPT2Model"),
        "next_token": WayOut(
            "GPT2LMHeadModel",
            next_token,
            {"scores.weight": "/lm_head.weight"},
        ),
        "class": ways_out.last_token_class("GPT2ForSequenceClassification"),
        "token_class": ways_out.token_class("GPT2ForTokenClassification"),
        "span": ways_out.span("GPT2ForQuestionAnswering"),
    },
    begin=lambda model, config: initialise_residual(model, config.init_std, config.depth),
    objective="causal-lm",
    adds_token_types=True,
    tokenizer=TokenizerStyle(
        algorithm="bpe",
        special={"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"},
        huggingface="GPT2Tokenizer",
    ),
    ignored=(".attn.bias", ".attn.masked_bias"),
    presets={
        "gpt2": _sizes(12, 768, 12),
        "gpt2-medium": _sizes(24, 1024, 16),
        "gpt2-large": _sizes(36, 1280, 20),
        "gpt2-xl": _sizes(48, 1600, 25),
        "gpt2-mini": _sizes(4, 256, 4),
        "gpt2-tiny": _sizes(2, 128, 2),
    },
)
