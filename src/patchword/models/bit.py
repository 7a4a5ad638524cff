"""BiT: big transfer (Kolesnikov et al. 2020), the convolutional network that ViT was compared with.

A ResNet with the norm before each convolution (He et al. 2016b), group norm (Wu and He 2018) for batch norm and
standardised filters (Qiao et al. 2019): a picture's vectors depend on no other picture, while it learns as well. "x3"
is three times as wide.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import model_validator
from torch import nn

from patchword.models.convnets import CONFIG_NAMES, UNREAD, ConvNetConfig, begin, ways_out
from patchword.models.family import Family
from patchword.nn.config import Positive
from patchword.nn.convnet import Activation, ConvNet, PreActivationBlock, StandardisedConv2d


class BiTConfig(ConvNetConfig):
    """Sizes of a BiT."""

    groups: Positive = 32
    """Of channels that a norm takes together."""
    activation: Literal["relu"] = "relu"

    @model_validator(mode="after")
    def _groups_divide_the_channels(self) -> BiTConfig:
        for width in self.stem_width, *(width // 4 for width in self.widths):
            if width % self.groups:
                raise ValueError(f"{width} channels can not be shared equally among {self.groups} groups")
        return self


class BiT(ConvNet):
    """Residual stages with group norm before each convolution (Kolesnikov et al. 2020, section 3.1)."""

    def __init__(self, config: BiTConfig) -> None:
        def norm(width: int) -> nn.Sequential:
            return nn.Sequential(
                OrderedDict(norm=nn.GroupNorm(config.groups, width), activation=Activation(config.activation))
            )

        super().__init__(
            nn.Sequential(
                OrderedDict(
                    first=StandardisedConv2d(config.channels, config.stem_width, 7, stride=2, padding=3),
                    pad=nn.ZeroPad2d(1),
                    pool=nn.MaxPool2d(3, stride=2),
                )
            ),
            config.stem_width,
            config.widths,
            config.depths,
            lambda before, after, stride, first: PreActivationBlock(before, after, stride, norm=norm, projects=first),
            norm(config.width),
        )


def _sizes(*depths: int, times: int = 1) -> BiTConfig:
    widths = tuple(256 * times * 2**stage for stage in range(4))
    return BiTConfig(width=widths[-1], widths=widths, depths=depths, stem_width=64 * times)


_BLOCK, _THEIRS = "stages.{i}.{j}.", "encoder.stages.{i}.layers.{j}."

FAMILY = Family(
    model_type="bit",
    modality="image",
    config=BiTConfig,
    trunk=BiT,
    prefix="bit.",
    config_names={**CONFIG_NAMES, "groups": "num_groups", "activation": "hidden_act"},
    required={
        "layer_type": "preactivation",
        "global_padding": None,
        "embedding_dynamic_padding": False,
        "drop_path_rate": 0.0,
        "output_stride": 32,
        "width_factor": 1,
    },
    weight_names={
        "stem.first.weight": "embedder.convolution.weight",
        f"{_BLOCK}project.weight": f"{_THEIRS}downsample.conv.weight",
        **{
            f"{_BLOCK}path.{ours}.weight": f"{_THEIRS}{theirs}.weight"
            for ours, theirs in {"first": "conv1", "second": "conv2", "third": "conv3"}.items()
        },
        **{
            f"{ours}.norm.{kind}": f"{theirs}.{kind}"
            for ours, theirs in {
                f"{_BLOCK}first_norm": f"{_THEIRS}norm1",
                f"{_BLOCK}path.second_norm": f"{_THEIRS}norm2",
                f"{_BLOCK}path.third_norm": f"{_THEIRS}norm3",
                "norm": "norm",
            }.items()
            for kind in ("weight", "bias")
        },
    },
    unread=UNREAD,
    ways_out=ways_out("Bit"),
    begin=begin,
    objective="image-classification",
    image_processor="BitImageProcessor",
    presets={
        "bit-50": _sizes(3, 4, 6, 3),
        "bit-101": _sizes(3, 4, 23, 3),
        "bit-152": _sizes(3, 8, 36, 3),
        "bit-50x3": _sizes(3, 4, 6, 3, times=3),
    },
)
