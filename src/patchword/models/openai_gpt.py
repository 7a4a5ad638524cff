"""GPT: the first of them, words from left to right (Radford et al. 2018, sections 3.1 and 4.1).

BERT's layers, post-norm with biases, made causal; learned positions; no norm at the end, since each layer ends with
one; the word table is also the scores of the next word.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field, model_validator
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import gpt2, ways_out
from patchword.models.config import GENERATIVE_NAMES, GenerativeConfig
from patchword.models.config_file import ConfigFile
from patchword.models.family import Family, Key, WayOut, causal_only, repeated
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder
from patchword.models.weights import Transposed, weights_and_biases
from patchword.nn.attention import CAUSAL, SelfAttention
from patchword.nn.block import Block, post_norm
from patchword.nn.config import Count, Positive
from patchword.nn.feedforward import FeedForward
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer

# What files call "gelu" is its tanh form.
_ACTIVATIONS = {"gelu": "gelu_new", "swish": "silu", "silu": "silu", "relu": "relu"}
_WRITTEN = {"gelu_new": "gelu", "silu": "silu", "relu": "relu"}


class GPTConfig(GenerativeConfig):
    """Sizes of a GPT."""

    vocab_size: Positive = 40478
    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    activation: str = "gelu_new"
    norm_eps: float = Field(1e-5, gt=0.0)

    @model_validator(mode="after")
    def _files_can_say_it(self) -> GPTConfig:
        if self.hidden != 4 * self.width:
            raise ValueError(f"hidden must be 4 x width, {4 * self.width}, not {self.hidden}: files have no other")
        if self.activation not in _WRITTEN:
            raise ValueError(f"activation must be one of {', '.join(_WRITTEN)}, not '{self.activation}'")
        return self


class GPT(Decoder):
    """Words from left to right, norm after each sub-layer."""

    def __init__(self, config: GPTConfig) -> None:
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
                    norm=partial(nn.LayerNorm, config.width, eps=config.norm_eps),
                    order=post_norm,
                    dropout=config.dropout,
                ),
            ),
            config.max_length,
        )


def _hidden(raw: ConfigFile) -> int:
    width = raw.whole("n_embd")
    return 4 * (768 if width is None else width)


def _activation(raw: ConfigFile) -> str:
    name = raw.text("afn")
    return _ACTIVATIONS.get("gelu" if name is None else name, str(name))


def _sizes(depth: int, width: int) -> GPTConfig:
    return GPTConfig(depth=depth, width=width, heads=width // 64, hidden=4 * width)


FAMILY = Family(
    model_type="openai-gpt",
    modality="text",
    config=GPTConfig,
    trunk=GPT,
    prefix="transformer.",
    config_names={
        "width": "n_embd",
        "depth": "n_layer",
        "heads": "n_head",
        "hidden": Key(_hidden, lambda hidden: {}),
        "activation": Key(_activation, lambda name: {"afn": _WRITTEN[name]}),
        "norm_eps": "layer_norm_epsilon",
        "dropout": repeated("resid_pdrop", "embd_pdrop"),
        "attention_dropout": "attn_pdrop",
        "init_std": "initializer_range",
        **GENERATIVE_NAMES,
        "max_length": "n_positions",
    },
    required={},
    aliases=gpt2.ALIASES,
    unread=gpt2.UNREAD,
    check=causal_only,
    weight_names={
        "embed.words.weight": "tokens_embed.weight",
        "embed.positions.weight": "positions_embed.weight",
        **weights_and_biases(
            {
                "attention.qkv": Transposed("attn.c_attn"),
                "attention.out": Transposed("attn.c_proj"),
                "attention_norm": "ln_1",
                "feedforward.up": Transposed("mlp.c_fc"),
                "feedforward.down": Transposed("mlp.c_proj"),
                "feedforward_norm": "ln_2",
            },
            "decoder.layers.{i}.",
            "h.{i}.",
        ),
    },
    ways_out={
        "features": ways_out.features("OpenAIGPTModel"),
        "next_token": WayOut(
            "OpenAIGPTLMHeadModel",
            gpt2.next_token,
            {"scores.weight": "/lm_head.weight"},
        ),
        "class": ways_out.last_token_class("OpenAIGPTForSequenceClassification"),
    },
    # Masks that old versions of transformers wrote among the weights.
    ignored=(".attn.bias",),
    objective="causal-lm",
    adds_token_types=True,
    tokenizer=TokenizerStyle("bpe", special={"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, lowercase=True),
    presets={"gpt": _sizes(12, 768)},
)
