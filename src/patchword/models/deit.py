"""DeiT: a ViT with a second class token that learns from a teacher (Touvron et al. 2021, section 4 and table 1).

Each of the two tokens can have a head; with both, the scores are their mean (their section 4, "classification with our
approach"). A DeiT without the distillation token is a ViT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from patchword.models.config import PatchConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, Pooler, SequenceHead
from patchword.models.stems import PatchEmbedding
from patchword.models.vit import ViT, ViTConfig
from patchword.models.vit_names import CONFIG_NAMES, MODULES, TRUNK_NAMES, UNREAD, check_pooler
from patchword.models.weights import Batched, GridPositions
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions


class DeiTConfig(ViTConfig):
    """Sizes of a DeiT."""

    @property
    def special_tokens(self) -> int:
        """The class token and the distillation token."""
        return 2


class DistilledEmbedding(PatchEmbedding):
    """Patches after a class token and a distillation token (Touvron et al. 2021, figure 2).

    Args:
        config: sizes.
    """

    def __init__(self, config: PatchConfig) -> None:
        super().__init__(config.image_size, config.patch_size, config.channels, config.width, dropout=config.dropout)
        self.distillation_token = nn.Parameter(torch.zeros(config.width))
        self.positions = LearnedPositions(config.tokens, config.width)

    def special(self) -> Tensor:
        """`[2, width]`."""
        return torch.stack([self.class_token, self.distillation_token])


class DeiT(ViT):
    """A ViT with a distillation token."""

    def __init__(self, config: DeiTConfig) -> None:
        super().__init__(config, DistilledEmbedding(config))


class DistilledHead(SequenceHead):
    """The mean of two scores of the classes, one from each special token.

    Args:
        width: numbers per token.
        classes: how many scores.
    """

    per_label = ("scores.weight", "scores.bias", "distilled.weight", "distilled.bias")

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, classes)
        self.distilled = nn.Linear(width, classes)

    def forward(self, hidden: Packed) -> Tensor:
        """`[T, width]` -> logits `[N, classes]`."""
        starts = hidden.layout.starts
        logits: Tensor = self.scores(hidden.values[starts]) + self.distilled(hidden.values[starts + 1])
        return logits / 2


def _sizes(width: int, heads: int) -> DeiTConfig:
    return DeiTConfig(depth=12, width=width, heads=heads, hidden=4 * width)


FAMILY = Family(
    model_type="deit",
    modality="image",
    config=DeiTConfig,
    trunk=DeiT,
    prefix="deit.",
    config_names=CONFIG_NAMES,
    required={"qkv_bias": True, "pooler_act": "tanh"},
    weight_names={
        **TRUNK_NAMES,
        "embed.distillation_token": Batched("embeddings.distillation_token", axes=2),
        "embed.positions.weight": GridPositions(
            "embeddings.position_embeddings", grid=lambda config: config.grid, extra=2
        ),
    },
    ways_out={
        "features": WayOut(
            "DeiTModel",
            lambda config, trunk, classes: Pooler(config.width),
            {"dense.weight": "pooler.dense.weight", "dense.bias": "pooler.dense.bias"},
            bare=True,
        ),
        "class": WayOut(
            "DeiTForImageClassification",
            lambda config, trunk, classes: ClassHead(config.width, classes),
            {"scores.weight": "/classifier.weight", "scores.bias": "/classifier.bias"},
        ),
        "class_distilled": WayOut(
            "DeiTForImageClassificationWithTeacher",
            lambda config, trunk, classes: DistilledHead(config.width, classes),
            {
                "scores.weight": "/cls_classifier.weight",
                "scores.bias": "/cls_classifier.bias",
                "distilled.weight": "/distillation_classifier.weight",
                "distilled.bias": "/distillation_classifier.bias",
            },
        ),
    },
    modules=MODULES,
    unread=UNREAD,
    check=check_pooler,
    objective="image-classification",
    image_processor="DeiTImageProcessor",
    presets={
        "deit-tiny": _sizes(192, 3),
        "deit-small": _sizes(384, 6),
        "deit-base": _sizes(768, 12),
    },
)
