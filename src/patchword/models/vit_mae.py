"""MAE: masked autoencoders (He et al. 2022), a ViT that learns from pictures without labels.

Three quarters of the patches are hidden. A ViT reads the others, a smaller one gets its vectors and guesses the pixels
of the hidden patches. Positions are fixed (sines and cosines). What has been learnt goes on as a ViT: for other heads
the encoder alone is taken.
"""

from __future__ import annotations

from torch import Tensor, nn

from patchword.models.config import PatchConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import Features
from patchword.models.masked_image import MaskedImageHead, SeenPatchEmbedding, SeenPatches, normalised, plain
from patchword.models.vit import vit_layers
from patchword.models.vit_names import CONFIG_NAMES, LAYER_NAMES, MODULES, TRUNK_NAMES
from patchword.models.weights import Batched, GridPositions, with_prefix
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.transformer import initialise


class ViTMAEConfig(PatchConfig):
    """Sizes of a ViT and of the decoder that it learns with."""

    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    hidden: Positive = 3072
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    decoder_width: Positive = 512
    decoder_depth: Count = 8
    decoder_heads: Positive = 16
    decoder_hidden: Positive = 2048
    mask_ratio: Probability = 0.75
    """Share of the patches that is hidden; kept for those that hide by it."""
    normalised_pixels: bool = False
    """Whether each patch's own mean and deviation are taken out of what is to be guessed."""

    @property
    def decoder(self) -> ViTMAEConfig:
        """The decoder's sizes as those of a stack."""
        return self.model_copy(
            update={
                "width": self.decoder_width,
                "depth": self.decoder_depth,
                "heads": self.decoder_heads,
                "hidden": self.decoder_hidden,
            }
        )


class ViTMAE(nn.Module):
    """A ViT over the patches that are seen."""

    def __init__(self, config: ViTMAEConfig) -> None:
        super().__init__()
        self.embed = SeenPatchEmbedding(
            config.image_size, config.patch_size, config.channels, config.width, dropout=config.dropout
        )
        self.encoder = vit_layers(config)

    def forward(self, pixels: Tensor, seen: Tensor | None = None) -> SeenPatches:
        """Pixels and the patches that are seen, `[N, k]` (all where not given) -> N sequences of 1 + k vectors."""
        given = self.embed(pixels, seen)
        hidden = self.encoder(given)
        return SeenPatches(hidden.values, hidden.layout, given.seen)


def begin(model: nn.Module, config: ViTMAEConfig) -> None:
    """Xavier's uniform for all matrices, the patches' own too (He et al. 2022, appendix A.1)."""
    initialise(model, config.init_std)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.flatten(1))
    for name, parameter in model.named_parameters():
        if name.endswith(("class_token", "mask_token")):
            nn.init.normal_(parameter, std=config.init_std)


def _head(config: ViTMAEConfig) -> MaskedImageHead:
    return MaskedImageHead(
        config.width,
        vit_layers(config.decoder),
        config.decoder_width,
        grid=config.grid,
        patch_size=config.patch_size,
        channels=config.channels,
        targets=normalised if config.normalised_pixels else plain,
    )


def _sizes(depth: int, width: int, heads: int, decoder: tuple[int, int, int] = (8, 512, 16)) -> ViTMAEConfig:
    return ViTMAEConfig(
        depth=depth,
        width=width,
        heads=heads,
        hidden=4 * width,
        decoder_depth=decoder[0],
        decoder_width=decoder[1],
        decoder_heads=decoder[2],
        decoder_hidden=4 * decoder[1],
        normalised_pixels=True,
    )


FAMILY = Family(
    model_type="vit_mae",
    modality="image",
    config=ViTMAEConfig,
    trunk=ViTMAE,
    prefix="vit.",
    config_names={
        **CONFIG_NAMES,
        "decoder_width": "decoder_hidden_size",
        "decoder_depth": "decoder_num_hidden_layers",
        "decoder_heads": "decoder_num_attention_heads",
        "decoder_hidden": "decoder_intermediate_size",
        "mask_ratio": "mask_ratio",
        "normalised_pixels": "norm_pix_loss",
    },
    required={"qkv_bias": True},
    weight_names=TRUNK_NAMES,
    ways_out={
        "features": WayOut("ViTMAEModel", lambda config, trunk, classes: Features(), bare=True),
        "masked_image": WayOut(
            "ViTMAEForPreTraining",
            lambda config, trunk, classes: _head(config),
            {
                "mask_token": Batched("/decoder.mask_token", axes=2),
                "positions.weight": GridPositions("/decoder.decoder_pos_embed", grid=lambda config: config.grid),
                "embed.weight": "/decoder.decoder_embed.weight",
                "embed.bias": "/decoder.decoder_embed.bias",
                **with_prefix(LAYER_NAMES, "decoder.layers.{i}.", "/decoder.decoder_layers.{i}."),
                "decoder.norm.weight": "/decoder.decoder_norm.weight",
                "decoder.norm.bias": "/decoder.decoder_norm.bias",
                "pixels.weight": "/decoder.decoder_pred.weight",
                "pixels.bias": "/decoder.decoder_pred.bias",
            },
        ),
    },
    begin=begin,
    modules=MODULES,
    objective="masked-image",
    continues_as="vit",
    # What transformers 5 writes; it reads both.
    respelled={"decoder.decoder_encoder.layer.": "decoder.decoder_layers."},
    presets={
        "vit-mae-tiny": _sizes(12, 192, 3, (4, 128, 4)),
        "vit-mae-base": _sizes(12, 768, 12),
        "vit-mae-large": _sizes(24, 1024, 16),
    },
)
