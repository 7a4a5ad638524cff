"""OPT: an open decoder of GPT-3's sizes (Zhang et al. 2022, sections 2.1 and 2.2 and table 1).

GPT-2's layers with ReLU; positions begin two rows down in their table; no dropout on the embeddings. The model of 350
million numbers is another one, post-norm and with a projection of its narrower word table; it is refused.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import gpt2
from patchword.models.config import Tokens
from patchword.models.config_file import ConfigFile
from patchword.models.family import Family, Key, causal_only
from patchword.models.gpt2 import GPT2, GPT2Config
from patchword.models.weights import Rows
from patchword.nn.config import Positive, Probability
from patchword.nn.positions import LearnedPositions

EPS = 1e-5


class OPTConfig(GPT2Config):
    """Sizes of an OPT; what a `config.json` leaves out is as transformers has it."""

    vocab_size: Positive = 50272
    max_length: Positive = 2048
    hidden: Positive = 3072
    activation: str = "relu"
    norm_eps: float = Field(EPS, ge=EPS, le=EPS)
    """Files have no other."""
    attention_dropout: Probability = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 2
    eos_token_id: Tokens = 2


class OPT(GPT2):
    """A GPT-2 whose positions begin at the third row of their table."""

    def __init__(self, config: OPTConfig) -> None:
        super().__init__(config)
        self.embed.positions = LearnedPositions(config.max_length, config.width, unused=2)
        self.embed.dropout = nn.Dropout(0.0)


def _width(raw: ConfigFile) -> int | None:
    width, words = raw.whole("hidden_size"), raw.whole("word_embed_proj_dim")
    if words not in (None, 768 if width is None else width):
        raise ValueError(f"word_embed_proj_dim is {words}, but only hidden_size, {width}, is supported for opt models")
    return width


def _sizes(depth: int, width: int, heads: int) -> OPTConfig:
    """Table 1; the deviation of new weights is in section 2.2."""
    return OPTConfig(depth=depth, width=width, heads=heads, hidden=4 * width, init_std=0.006)


_LAYER = "decoder.layers.{i}"

FAMILY = Family(
    model_type="opt",
    modality="text",
    config=OPTConfig,
    trunk=OPT,
    prefix="model.",
    config_names={
        "width": Key(_width, lambda width: {"hidden_size": width, "word_embed_proj_dim": width}),
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "hidden": "ffn_dim",
        "activation": "activation_function",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "init_std": "init_std",
        "vocab_size": "vocab_size",
        "max_length": "max_position_embeddings",
        "pad_token_id": "pad_token_id",
        "bos_token_id": "bos_token_id",
        "eos_token_id": "eos_token_id",
        "tied": "tie_word_embeddings",
    },
    required={
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
    },
    weight_names={
        "embed.words.weight": "decoder.embed_tokens.weight",
        "embed.positions.weight": "decoder.embed_positions.weight",
        **{
            f"{_LAYER}.attention.qkv.{kind}": Rows(tuple(f"{_LAYER}.self_attn.{part}_proj.{kind}" for part in "qkv"))
            for kind in ("weight", "bias")
        },
        **{
            f"{ours}.{kind}": f"{theirs}.{kind}"
            for ours, theirs in {
                f"{_LAYER}.attention.out": f"{_LAYER}.self_attn.out_proj",
                f"{_LAYER}.attention_norm": f"{_LAYER}.self_attn_layer_norm",
                f"{_LAYER}.feedforward.up": f"{_LAYER}.fc1",
                f"{_LAYER}.feedforward.down": f"{_LAYER}.fc2",
                f"{_LAYER}.feedforward_norm": f"{_LAYER}.final_layer_norm",
                "decoder.norm": "decoder.final_layer_norm",
            }.items()
            for kind in ("weight", "bias")
        },
    },
    ways_out={
        name: replace(gpt2.FAMILY.ways_out[name], architecture=architecture)
        for name, architecture in {
            "features": "OPTModel",
            "next_token": "OPTForCausalLM",
            "class": "OPTForSequenceClassification",
            "span": "OPTForQuestionAnswering",
        }.items()
    },
    begin=gpt2.FAMILY.begin,
    check=causal_only,
    objective="causal-lm",
    tokenizer=TokenizerStyle(
        "bpe",
        special={"pad": "<pad>", "bos": "</s>", "eos": "</s>", "unk": "</s>"},
        before=("bos",),
        huggingface="GPT2Tokenizer",
    ),
    presets={
        "opt-125m": _sizes(12, 768, 12),
        "opt-1.3b": _sizes(24, 2048, 32),
        "opt-6.7b": _sizes(32, 4096, 32),
        "opt-13b": _sizes(40, 5120, 40),
        "opt-30b": _sizes(48, 7168, 56),
        "opt-66b": _sizes(64, 9216, 72),
        "opt-tiny": _sizes(2, 128, 2),
    },
)
