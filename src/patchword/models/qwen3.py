"""Qwen3: a Llama whose queries and keys have a norm in each head (Yang et al. 2025, section 2 and table 1).

The norm (Dehghani et al. 2023) takes the place of the biases that Qwen2 had on them; heads are 128 wide at any width.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import Tokens
from patchword.models.config_file import ConfigFile
from patchword.models.family import causal_only
from patchword.models.llama_layers import Llama, LlamaConfig
from patchword.models.llama_like import GATED, llama_like
from patchword.nn.config import Positive
from patchword.nn.norm import RMSNorm
from patchword.nn.transformer import initialise


class Qwen3Config(LlamaConfig):
    """Sizes of a Qwen3."""

    vocab_size: Positive = 151936
    hidden: Positive = 22016
    max_length: Positive = 32768
    head_size: Positive = 128
    bos_token_id: int | None = None
    eos_token_id: Tokens = None


class Qwen3(Llama):
    """A Llama with norms in its heads."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__(config, head_norm=partial(RMSNorm, eps=config.norm_eps))


def _sizes(depth: int, width: int, heads: int, hidden: int, tied: bool = False) -> Qwen3Config:
    return Qwen3Config(
        depth=depth,
        width=width,
        heads=heads,
        kv_heads=8,
        hidden=hidden,
        tied=tied,
        rotary_base=1e6,
        bos_token_id=151643,
        eos_token_id=151643,
    )


def begin(model: nn.Module, config: Qwen3Config) -> None:
    """Words with a table of their own begin as large as what a layer adds to them, or it would drown them.

    Next words after a minute, a mini of 256 numbers: 6.74 so, 7.21 with one table for words and scores, in which words
    are 16 times smaller, and 7.20 where all weights begin with 0.02 (one seed each).
    """
    initialise(model, config.init_std)
    if not config.tied:
        words = model.get_submodule("trunk.embed.words")
        assert isinstance(words, nn.Embedding)
        nn.init.normal_(words.weight, std=config.init_std * config.width**0.5)


# The encoders' ladder (`modernbert.py`), from left to right: heads of 64, each with keys and values of its own.
def _small(depth: int, width: int, hidden: int) -> Qwen3Config:
    return Qwen3Config(
        depth=depth,
        width=width,
        heads=width // 64,
        kv_heads=width // 64,
        head_size=64,
        hidden=hidden,
        vocab_size=32768,
        max_length=1024,
        init_std=width**-0.5,
    )


def _check(file: ConfigFile) -> None:
    causal_only(file)
    if set(file.items_of("layer_types", str) or ()) - {"full_attention"}:
        raise ValueError("layer_types has layers with a window; only layers of full_attention are supported")
    file.get("sliding_window")  # has no effect where use_sliding_window is false


FAMILY = llama_like(
    "qwen3",
    "Qwen3",
    config=Qwen3Config,
    trunk=Qwen3,
    required={"attention_bias": False, "use_sliding_window": False},
    check=_check,
    kv_heads=32,
    weight_names={
        **GATED,
        "decoder.layers.{i}.attention.query_norm.weight": "layers.{i}.self_attn.q_norm.weight",
        "decoder.layers.{i}.attention.key_norm.weight": "layers.{i}.self_attn.k_norm.weight",
    },
    span_prefix="transformer.",
    recipe="modern",
    begin=begin,
    tokenizer=TokenizerStyle("bpe", special={"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|endoftext|>"}),
    presets={
        "patchword-decoder-tiny": _small(2, 128, 320),
        "patchword-decoder-mini": _small(4, 256, 704),
        "patchword-decoder-small": _small(7, 384, 1024),
        "patchword-decoder-base": _small(13, 768, 2048),
        "qwen3-0.6b": _sizes(28, 1024, 16, 3072, tied=True),
        "qwen3-1.7b": _sizes(28, 2048, 16, 6144, tied=True),
        "qwen3-4b": _sizes(36, 2560, 32, 9728, tied=True),
        "qwen3-8b": _sizes(36, 4096, 32, 12288),
        "qwen3-14b": _sizes(40, 5120, 40, 17408),
        "qwen3-32b": _sizes(64, 5120, 64, 25600),
    },
)
