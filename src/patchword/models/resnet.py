"""ResNet: deep residual learning (He et al. 2016, table 1), with the stride in the 3x3 convolution ("v1.5").

No Transformer: a stem of one convolution and a pooling, four stages of residual blocks with batch norm, and the mean
over the places of the last map. It reads pictures of any size; a place is 32 x 32 pixels.

While it learns, batch norm looks at the pictures that go through together, so the one promise that does not hold here
is that a gradient is the same however its batch is cut: `micro_tokens` should leave batches whole. In evaluation mode
it uses its running statistics, and a picture's scores do not depend on its neighbours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator
from torch import nn

from patchword.models.config import ImageConfig, square_or_pair
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import ClassHead, MeanToken, Pooled
from patchword.models.weights import weights_and_biases
from patchword.nn.config import Positive
from patchword.nn.convnet import ConvNet, basic_block, bottleneck_block, convolution_norm, initialise_convolutions
from patchword.nn.transformer import initialise


class ConvNetConfig(ImageConfig):
    """Sizes of a convolutional network in stages."""

    stem_width: Positive = 64
    """Channels that the stem gives."""
    widths: tuple[Positive, ...]
    """Channels of each stage; the last is `width`."""
    depths: tuple[Positive, ...]
    """Blocks of each stage."""

    @model_validator(mode="after")
    def _stages_agree(self) -> ConvNetConfig:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"{len(self.widths)} widths for {len(self.depths)} stages")
        if self.width != self.widths[-1]:
            raise ValueError(f"width {self.width} is not that of the last stage, {self.widths[-1]}")
        return self

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return sum(self.depths)

    @property
    def stride(self) -> int:
        """Pixels of one place of the last map: 4 after the stem, twice as many with each further stage."""
        return 4 << (len(self.widths) - 1)


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


def begin(model: nn.Module, config: ConvNetConfig) -> None:
    """He's normal for convolutions, a narrow one for the scores."""
    initialise(model, config.init_std)
    initialise_convolutions(model)


CONFIG_NAMES: Mapping[str, str | Key] = {
    "width": Key(lambda raw: raw["hidden_sizes"][-1], lambda width: {}),
    "widths": Key(lambda raw: raw.get("hidden_sizes"), lambda widths: {"hidden_sizes": list(widths)}),
    "depths": Key(lambda raw: raw.get("depths"), lambda depths: {"depths": list(depths)}),
    "stem_width": "embedding_size",
    "channels": "num_channels",
    # Theirs does not say it; what it was trained on is the size that it is used with.
    "image_size": Key(lambda raw: square_or_pair(raw.get("image_size")), lambda size: {"image_size": list(size)}),
}
"""Of every family in stages."""


def ways_out(model: str) -> dict[str, WayOut]:
    """The means over places, and scores of classes from them.

    Args:
        model: what the classes of transformers begin with.
    """
    return {
        "features": WayOut(f"{model}Model", lambda config, trunk, classes: Pooled(MeanToken()), bare=True),
        "class": WayOut(
            f"{model}ForImageClassification",
            lambda config, trunk, classes: ClassHead(config.width, classes, pool=MeanToken()),
            weights_and_biases({"scores": "/classifier.1"}),
        ),
    }


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
