"""Llama: an open decoder, and its larger and longer successors (Touvron et al. 2023, section 2.2 and table 2).

Llama 2 shares keys and values among heads in its largest model, Llama 3 in all; Llama 3.2 turns its slow pairs more
slowly, for texts sixteen times as long as those of its pretraining.
"""

from __future__ import annotations

from typing import Any

from patchword.models.llama_layers import Llama, LlamaConfig
from patchword.models.llama_like import SENTENCEPIECE, llama_like
from patchword.nn.positions import Scaling


def _one(depth: int, width: int, heads: int, hidden: int) -> LlamaConfig:
    """Touvron et al. 2023, table 2."""
    return LlamaConfig(depth=depth, width=width, heads=heads, kv_heads=heads, hidden=hidden)


def _two(depth: int, width: int, heads: int, hidden: int, kv_heads: int | None = None) -> LlamaConfig:
    """Llama 2 (Touvron et al. 2023b, table 1)."""
    return LlamaConfig(
        depth=depth,
        width=width,
        heads=heads,
        kv_heads=kv_heads or heads,
        hidden=hidden,
        max_length=4096,
        norm_eps=1e-5,
    )


def _three(depth: int, width: int, heads: int, hidden: int, **more: Any) -> LlamaConfig:
    """Llama 3 (Grattafiori et al. 2024, table 3)."""
    sizes = {"vocab_size": 128256, "max_length": 8192, "norm_eps": 1e-5, "rotary_base": 500000.0, "kv_heads": 8}
    ends = {"bos_token_id": 128000, "eos_token_id": 128001}
    return LlamaConfig(**{**sizes, **ends, "depth": depth, "width": width, "heads": heads, "hidden": hidden, **more})


_LONG = {"tied": True, "max_length": 131072, "rotary_scaling": Scaling(32.0, 8192, 1.0, 4.0)}


def _small(depth: int, width: int) -> LlamaConfig:
    """To pretrain on one machine: heads of 64, a gated part with as many weights as one of 4 x width without gates."""
    hidden = -(-8 * width // (3 * 64)) * 64
    return LlamaConfig(depth=depth, width=width, heads=width // 64, kv_heads=width // 64, hidden=hidden, tied=True)


FAMILY = llama_like(
    "llama",
    "Llama",
    config=LlamaConfig,
    trunk=Llama,
    required={"attention_bias": False, "mlp_bias": False},
    span_prefix="transformer.",
    tokenizer=SENTENCEPIECE,
    presets={
        "llama-7b": _one(32, 4096, 32, 11008),
        "llama-13b": _one(40, 5120, 40, 13824),
        "llama-33b": _one(60, 6656, 52, 17920),
        "llama-65b": _one(80, 8192, 64, 22016),
        "llama2-7b": _two(32, 4096, 32, 11008),
        "llama2-13b": _two(40, 5120, 40, 13824),
        "llama2-70b": _two(80, 8192, 64, 28672, kv_heads=8),
        "llama3-8b": _three(32, 4096, 32, 14336),
        "llama3-70b": _three(80, 8192, 64, 28672),
        "llama3.2-1b": _three(16, 2048, 32, 8192, **_LONG),
        "llama3.2-3b": _three(28, 3072, 24, 8192, **_LONG),
        "llama-tiny": _small(2, 128),
        "llama-mini": _small(4, 256),
        "llama-small": _small(8, 512),
    },
)
