"""ViT: an image is worth 16x16 words (Dosovitskiy et al. 2021, table 1); tiny and small are DeiT's (Touvron et al.).

Pre-norm layers with biases and GELU over a class token and the patches; learned positions; a norm at the end. A class
is read from the class token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from patchword.models import ways_out
from patchword.models.config import TRANSFORMER_NAMES, PatchConfig, square_or_pair
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import ClassHead
from patchword.models.stems import PatchEmbedding
from patchword.models.weights import Batched, GridPositions, Names, Rows, weights_and_biases, with_prefix
from patchword.nn.attention import SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Probability, TransformerConfig
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Packed
from patchword.nn.transformer import Transformer


class ViTConfig(PatchConfig):
    """Sizes of a ViT."""

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


CONFIG_NAMES: Mapping[str, str | Key] = {
    **TRANSFORMER_NAMES,
    "image_size": Key(
        lambda raw: square_or_pair(raw.get("image_size")),
        lambda size: {"image_size": size[0] if size[0] == size[1] else list(size)},
    ),
    "patch_size": "patch_size",
    "channels": "num_channels",
}
"""Of ViT and those that go on from it."""
LAYER_NAMES: Names = weights_and_biases(
    {
        "attention.qkv": Rows(tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))),
        "attention.out": "attention.output.dense",
        "attention_norm": "layernorm_before",
        "feedforward.up": "intermediate.dense",
        "feedforward.down": "output.dense",
        "feedforward_norm": "layernorm_after",
    }
)
"""Weights of one layer."""
TRUNK_NAMES: Names = {
    "embed.class_token": Batched("embeddings.cls_token", axes=2),
    "embed.positions.weight": GridPositions("embeddings.position_embeddings"),
    **weights_and_biases({"embed.project": "embeddings.patch_embeddings.projection", "encoder.norm": "layernorm"}),
    **with_prefix(LAYER_NAMES, "encoder.layers.{i}.", "encoder.layer.{i}."),
}
"""Weights of a trunk."""

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
