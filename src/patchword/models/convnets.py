"""What families in convolutional stages share, ResNet and BiT: their sizes, and what comes out of their last map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator
from torch import nn

from patchword.models.config import FromList, ImageConfig, square_or_pair
from patchword.models.family import Key, WayOut
from patchword.models.heads import ClassHead, MeanToken, Pooled
from patchword.models.weights import weights_and_biases
from patchword.nn.config import Count, Positive
from patchword.nn.convnet import initialise_convolutions
from patchword.nn.transformer import initialise


class ConvNetConfig(ImageConfig):
    """Sizes of a convolutional network in stages."""

    stem_width: Positive = 64
    """Channels that the stem gives."""
    width: Positive = 2048
    widths: Annotated[tuple[Positive, ...], FromList, Field(min_length=1, max_length=16)] = (256, 512, 1024, 2048)
    """Channels of each stage; the last is `width`."""
    depths: Annotated[tuple[Count, ...], FromList] = (3, 4, 6, 3)
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


def begin(model: nn.Module, config: ConvNetConfig) -> None:
    """He's normal for convolutions, a narrow one for the scores."""
    initialise(model, config.init_std)
    initialise_convolutions(model)


CONFIG_NAMES: Mapping[str, str | Key] = {
    "width": Key(lambda raw: sizes[-1] if (sizes := raw.items_of("hidden_sizes", int)) else None, lambda width: {}),
    "widths": Key(lambda raw: raw.items_of("hidden_sizes", int), lambda widths: {"hidden_sizes": list(widths)}),
    "depths": Key(lambda raw: raw.items_of("depths", int), lambda depths: {"depths": list(depths)}),
    "stem_width": "embedding_size",
    "channels": "num_channels",
    # Theirs does not say it; what it was trained on is the size that it is used with.
    "image_size": Key(lambda raw: square_or_pair(raw.get("image_size")), lambda size: {"image_size": list(size)}),
}
"""Of every family in stages."""


UNREAD = frozenset({"out_features", "out_indices", "stage_names"})
"""Of their use as a backbone of detectors."""


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
