"""DINOv2 with registers (Oquab et al. 2024; Darcet et al. 2024): a ViT with tokens that belong to no patch.

What each sub-layer adds is scaled number by number (Touvron et al. 2021b, "LayerScale"). Registers stand after the
class token and have no position; nothing is read from them. A class is read from the class token and the patches' mean.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import model_validator
from torch import Tensor, nn

from patchword.models.config import PatchConfig
from patchword.models.dinov2_names import CONFIG_NAMES, REQUIRED, WEIGHT_NAMES
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassAndPatches, ClassHead, FirstToken, Pooled
from patchword.models.stems import PatchEmbedding
from patchword.models.vit import ViT
from patchword.models.vit_names import ATTENTION_MODULES
from patchword.models.weights import weights_and_biases
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.norm import Scaled
from patchword.nn.positions import GridSinCos
from patchword.nn.transformer import initialise


class RegisterConfig(PatchConfig):
    """Sizes of a DINOv2 with registers."""

    patch_size: Positive = 16
    norm_eps: float = 1e-6
    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    hidden: Positive = 3072
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    registers: Positive = 4
    """Tokens after the class token that belong to no patch."""
    times: Positive = 4
    """`hidden` in widths."""
    layer_scale: float = 1.0
    """What each number that a sub-layer adds is multiplied by in the beginning."""

    @model_validator(mode="after")
    def _hidden_is_a_multiple(self) -> RegisterConfig:
        if self.hidden != self.times * self.width:
            raise ValueError(f"hidden {self.hidden} is not {self.times} times the width {self.width}")
        return self

    @property
    def special_tokens(self) -> int:
        """The class token and the registers."""
        return 1 + self.registers


class RegisterEmbedding(PatchEmbedding):
    """Patches after a class token and registers, which have no position (Darcet et al. 2024).

    Args:
        config: sizes.
    """

    mask_token: Tensor
    """Stands for hidden patches in their pretraining; kept as it is."""

    def __init__(self, config: RegisterConfig) -> None:
        super().__init__(config.image_size, config.patch_size, config.channels, config.width, dropout=config.dropout)
        self.registers = nn.Parameter(torch.zeros(config.registers, config.width))
        self.register_buffer("mask_token", torch.zeros(config.width))

    def placed(self, patches: Tensor) -> Tensor:
        """`[N, P, width]` -> `[N, 1 + registers + P, width]`."""
        tokens = super().placed(patches)
        registers = self.registers.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)


class RegisterViT(ViT):
    """A ViT with registers and scaled sub-layers."""

    def __init__(self, config: RegisterConfig) -> None:
        scaled = partial(Scaled, width=config.width, start=config.layer_scale)
        super().__init__(config, RegisterEmbedding(config), scaled)


def begin(model: nn.Module, config: RegisterConfig) -> None:
    """Tokens without a patch begin unequal, or registers would stay the same; places begin as sines and cosines."""
    initialise(model, config.init_std)
    embed = model.get_submodule("trunk.embed")
    assert isinstance(embed, RegisterEmbedding)
    for special in (embed.class_token, embed.registers):
        nn.init.normal_(special, std=config.init_std)
    with torch.no_grad():
        embed.positions.weight.copy_(GridSinCos(config.grid, config.width).weight)


# Next to the ViT of each size, for few patches and little time. What a sub-layer adds begins smaller by 1 / sqrt(2 x
# depth), as in Radford et al. 2019, section 2.3; weights begin smaller the wider a model is (`modernbert.py`).
def _small(depth: int, width: int) -> RegisterConfig:
    return RegisterConfig(
        depth=depth,
        width=width,
        heads=width // 64,
        hidden=4 * width,
        patch_size=16,
        layer_scale=(2 * depth) ** -0.5,
        init_std=width**-0.5,
    )


FAMILY = Family(
    model_type="dinov2_with_registers",
    modality="image",
    config=RegisterConfig,
    trunk=RegisterViT,
    prefix="dinov2_with_registers.",
    config_names=CONFIG_NAMES,
    required=REQUIRED,
    # Of their use as a backbone of detectors.
    unread=frozenset({"apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names"}),
    weight_names=WEIGHT_NAMES,
    ways_out={
        "features": WayOut("Dinov2WithRegistersModel", lambda config, trunk, classes: Pooled(FirstToken()), bare=True),
        "class": WayOut(
            "Dinov2WithRegistersForImageClassification",
            lambda config, trunk, classes: ClassHead(
                2 * config.width, classes, pool=ClassAndPatches(config.special_tokens)
            ),
            weights_and_biases({"scores": "/classifier"}),
        ),
    },
    modules=ATTENTION_MODULES,
    objective="image-classification",
    image_processor="BitImageProcessor",
    begin=begin,
    recipe="modern",
    presets={
        "patchword-image-tiny": _small(4, 128),
        "patchword-image-mini": _small(6, 192),
        "patchword-image-small": _small(12, 384),
        "patchword-image-base": _small(12, 768),
        "dinov2-with-registers-small": RegisterConfig(depth=12, width=384, heads=6, hidden=1536, patch_size=14),
        "dinov2-with-registers-base": RegisterConfig(depth=12, width=768, heads=12, hidden=3072, patch_size=14),
    },
)
