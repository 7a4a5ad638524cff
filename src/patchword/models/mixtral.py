"""Mixtral: a Mistral whose feed-forward part is eight, of which each word goes through two (Jiang et al. 2024).

A router in each layer scores the experts for each word; a term of the loss keeps it from using few of them only.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import nn

from patchword.models.llama_layers import Llama
from patchword.models.llama_like import SENTENCEPIECE, llama_like
from patchword.models.mistral import MistralConfig, sliding
from patchword.models.weights import Stacked
from patchword.nn.config import Count, Positive
from patchword.nn.experts import MixtureOfExperts


class MixtralConfig(MistralConfig):
    """Sizes of a Mixtral."""

    norm_eps: float = Field(1e-5, gt=0.0)
    rotary_base: float = Field(1e6, gt=0.0)
    experts: Count = 8
    """Feed-forward parts in a layer."""
    active_experts: Positive = 2
    """Those that a word goes through."""
    balance: float = Field(0.001, ge=0.0)
    """Weight of `balance_loss` beside the loss in nats."""

    @model_validator(mode="after")
    def _there_are_so_many_experts(self) -> MixtralConfig:
        if self.active_experts > self.experts:
            raise ValueError(f"a word can not go through {self.active_experts} of {self.experts} experts")
        return self


def mixture(config: MixtralConfig) -> nn.Module:
    """The feed-forward part of a layer."""
    return MixtureOfExperts(
        config.width,
        config.hidden,
        experts=config.experts,
        active=config.active_experts,
        activation=config.activation,
    )


class Mixtral(Llama):
    """A Llama with experts."""

    def __init__(self, config: MixtralConfig) -> None:
        super().__init__(config, mask=sliding(config), feedforward=mixture)


def _experts(config: MixtralConfig) -> int:
    return config.experts


_MIXTURE = "layers.{i}.block_sparse_moe."
_EXPERT = _MIXTURE + "experts.{e}."

FAMILY = llama_like(
    "mixtral",
    "Mixtral",
    config=MixtralConfig,
    trunk=Mixtral,
    config_names={
        "window": "sliding_window",
        "experts": "num_local_experts",
        "active_experts": "num_experts_per_tok",
        "balance": "router_aux_loss_coef",
    },
    required={"router_jitter_noise": 0.0},
    kv_heads=8,
    aliases={"num_experts": "num_local_experts"},
    weight_names={
        "decoder.layers.{i}.feedforward.router.weight": _MIXTURE + "gate.weight",
        "decoder.layers.{i}.feedforward.up": Stacked((_EXPERT + "w1.weight", _EXPERT + "w3.weight"), _experts),
        "decoder.layers.{i}.feedforward.down": Stacked((_EXPERT + "w2.weight",), _experts),
    },
    tokenizer=SENTENCEPIECE,
    presets={
        # Table 1, with the weight of the balance that its published config has.
        "mixtral-8x7b": MixtralConfig(
            depth=32, width=4096, heads=32, kv_heads=8, hidden=14336, max_length=32768, balance=0.02
        ),
        "mixtral-tiny": MixtralConfig(
            depth=2, width=128, heads=2, kv_heads=1, hidden=192, experts=4, max_length=2048, tied=True, balance=0.02
        ),
    },
)
