"""Mistral: a Llama in which a word sees the last few thousand words only (Jiang et al. 2023, section 2).

What lies further back reaches it through the layers below, one window a layer.
"""

from __future__ import annotations

from patchword.models.family import Key
from patchword.models.llama_layers import Llama, LlamaConfig
from patchword.models.llama_like import SENTENCEPIECE, llama_like
from patchword.nn.attention import Mask
from patchword.nn.config import Positive


class MistralConfig(LlamaConfig):
    """Sizes of a Mistral."""

    hidden: Positive = 14336
    kv_heads: Positive = 8
    max_length: Positive = 131072
    window: Positive | None = None
    """Words that a word sees, itself included; all before it where None."""


def sliding(config: MistralConfig) -> Mask:
    """Which words a word sees."""
    return Mask(causal=True, window=config.window and config.window - 1)


class Mistral(Llama):
    """A Llama with a window."""

    def __init__(self, config: MistralConfig) -> None:
        super().__init__(config, mask=sliding(config))


FAMILY = llama_like(
    "mistral",
    "Mistral",
    config=MistralConfig,
    trunk=Mistral,
    config_names={
        # Not there is 4096; null is none.
        "window": Key(
            lambda raw: raw.whole("sliding_window") if "sliding_window" in raw else 4096,
            lambda window: {"sliding_window": window},
        ),
    },
    kv_heads=8,
    tokenizer=SENTENCEPIECE,
    presets={
        "mistral-7b": MistralConfig(
            depth=32, width=4096, heads=32, kv_heads=8, hidden=14336, max_length=32768, window=4096, norm_eps=1e-5
        ),
    },
)
