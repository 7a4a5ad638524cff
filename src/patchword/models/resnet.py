"""ResNet: deep residual learning (He et al. 2016, table 1), with the stride in the 3x3 convolution ("v1.5").

No Transformer: a stem of one convolution and a pooling, four stages of residual blocks with batch norm, and the mean
over the places of the last map. It reads pictures of any size; a place is 32 x 32 pixels.

While it learns, batch norm looks at the pictures that go through together, so the one promise that does not hold here
is that a gradient is the same however its batch is cut: `micro_tokens` should leave batches whole. In evaluation mode
it uses its running statistics, and a picture's scores do not depend on its neighbours.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from patchword.models.convnets import CONFIG_NAMES, UNREAD, ConvNetConfig, begin, ways_out
from patchword.models.family import Family
from patchword.nn.convnet import ConvNet, basic_block, bottleneck_block, convolution_norm
from patchword.nn.packing import Packed


class ResNetConfig(ConvNetConfig):
    """Sizes of a ResNet."""

    block: Literal["basic", "bottleneck"] = "bottleneck"
    activation: Literal["relu"] = "relu"


class ResNet(ConvNet):
    """Residual stages with batch norm (He et al. 2016, section 3.3)."""

    def __init__(self, config: ResNetConfig) -> None:
        block = {"basic": basic_block, "bottleneck": bottleneck_block}[config.block]
        first = convolution_norm(config.channels, config.stem_width, 7, stride=2, activation=config.activation)
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        super().__init__(
            nn.Sequential(OrderedDict(first=first, pool=pool)),
            config.stem_width,
            config.widths,
            config.depths,
            lambda before, after, stride, first: block(before, after, stride, config.activation),
        )

    def forward(self, pixels: Tensor) -> Packed:
        """As every `ConvNet`, with a place's channels side by side, which makes learning and reading faster here."""
        return super().forward(pixels.contiguous(memory_format=torch.channels_last))


def _sizes(block: Literal["basic", "bottleneck"], *depths: int) -> ResNetConfig:
    widths = tuple((64 if block == "basic" else 256) * 2**stage for stage in range(4))
    return ResNetConfig(width=widths[-1], widths=widths, depths=depths, block=block)


FAMILY = Family(
    model_type="resnet",
    modality="image",
    config=ResNetConfig,
    trunk=ResNet,
    prefix="resnet.",
    config_names={**CONFIG_NAMES, "block": "layer_type", "activation": "hidden_act"},
    required={"downsample_in_first_stage": False, "downsample_in_bottleneck": False},
    weight_names={
        f"{ours}.{kind}": f"{theirs}.{kind.replace('norm.', 'normalization.')}"
        for ours, theirs in {
            "stem.first": "embedder.embedder",
            "stages.{i}.{j}.path.{k}": "encoder.stages.{i}.layers.{j}.layer.{k}",
            "stages.{i}.{j}.shortcut": "encoder.stages.{i}.layers.{j}.shortcut",
        }.items()
        for kind in ("convolution.weight", *(f"norm.{name}" for name in nn.BatchNorm2d(1).state_dict()))
    },
    unread=UNREAD,
    ways_out=ways_out("ResNet"),
    begin=begin,
    objective="image-classification",
    image_processor="ConvNextImageProcessor",
    presets={
        "resnet-18": _sizes("basic", 2, 2, 2, 2),
        "resnet-34": _sizes("basic", 3, 4, 6, 3),
        "resnet-50": _sizes("bottleneck", 3, 4, 6, 3),
        "resnet-101": _sizes("bottleneck", 3, 4, 23, 3),
        "resnet-152": _sizes("bottleneck", 3, 8, 36, 3),
    },
)
