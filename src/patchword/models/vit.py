"""ViT: an image is worth 16x16 words (Dosovitskiy et al. 2021, table 1); tiny and small are DeiT's (Touvron et al.).

Pre-norm layers with biases and GELU over a class token and the patches; learned positions; a norm at the end. A class
is read from the class token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from patchword.models import ways_out
from patchword.models.config import PatchConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead
from patchword.models.stems import PatchEmbedding
from patchword.models.vit_names import CONFIG_NAMES, MODULES, TRUNK_NAMES, UNREAD, check_pooler
from patchword.models.weights import weights_and_biases
from patchword.nn.attention import SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Count, Positive, Probability, TransformerConfig
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Packed
from patchword.nn.transformer import Transformer


class ViTConfig(PatchConfig):
    """Sizes of a ViT."""

    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    hidden: Positive = 3072
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0


Around = Callable[[nn.Module], nn.Module]


def vit_layers(config: TransformerConfig, around: Around = lambda sublayer: sublayer) -> Transformer:
    """Norm before each sub-layer, and at the end.

    Args:
        config: sizes.
        around: what each sub-layer is put into.
    """
    norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps)
    return Transformer(
        config.depth,
        lambda layer: Block(
            attention=around(SelfAttention(config.width, config.heads, dropout=config.attention_dropout)),
            feedforward=around(FeedForward(config.width, config.hidden, activation=config.activation)),
            norm=norm,
            order=pre_norm,
            dropout=config.dropout,
        ),
        norm=norm,
    )


class ViT(nn.Module):
    """Patches in both directions, norm before each sub-layer (Dosovitskiy et al. 2021, equations 1 to 4).

    Args:
        config: sizes.
        embed: another way in.
        around: what each sub-layer is put into.
    """

    def __init__(
        self,
        config: PatchConfig,
        embed: PatchEmbedding | None = None,
        around: Around = lambda sublayer: sublayer,
    ) -> None:
        super().__init__()
        self.embed = embed or PatchEmbedding(
            config.image_size, config.patch_size, config.channels, config.width, dropout=config.dropout
        )
        self.encoder = vit_layers(config, around)

    def forward(self, pixels: Tensor) -> Packed:
        """`[N, channels, height, width]` -> N sequences of vectors, `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(pixels))
        return hidden


def _sizes(depth: int, width: int, heads: int, patch: int, hidden: int | None = None) -> ViTConfig:
    return ViTConfig(depth=depth, width=width, heads=heads, hidden=hidden or 4 * width, patch_size=patch)


FAMILY = Family(
    model_type="vit",
    modality="image",
    config=ViTConfig,
    trunk=ViT,
    prefix="vit.",
    config_names=CONFIG_NAMES,
    required={"qkv_bias": True, "pooler_act": "tanh"},
    weight_names=TRUNK_NAMES,
    ways_out={
        "features": ways_out.pooled_features("ViTModel"),
        "class": WayOut(
            "ViTForImageClassification",
            lambda config, trunk, classes: ClassHead(config.width, classes),
            weights_and_biases({"scores": "/classifier"}),
        ),
    },
    modules=MODULES,
    unread=UNREAD,
    check=check_pooler,
    objective="image-classification",
    presets={
        "vit-tiny-16": _sizes(12, 192, 3, 16),
        "vit-tiny-32": _sizes(12, 192, 3, 32),
        "vit-small-16": _sizes(12, 384, 6, 16),
        "vit-small-32": _sizes(12, 384, 6, 32),
        "vit-base-16": _sizes(12, 768, 12, 16),
        "vit-base-32": _sizes(12, 768, 12, 32),
        "vit-large-16": _sizes(24, 1024, 16, 16),
        "vit-large-32": _sizes(24, 1024, 16, 32),
        "vit-huge-14": _sizes(32, 1280, 16, 14),
    },
)
