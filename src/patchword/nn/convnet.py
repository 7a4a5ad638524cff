"""Convolutional networks that ViT is compared with: residual stages over a map of channels (He et al. 2016).

Shapes: N pictures, C channels, maps of h x w places.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.feedforward import ACTIVATIONS
from patchword.nn.packing import Packed


class Activation(nn.Module):
    """A function by its name.

    Args:
        name: a key of `ACTIVATIONS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = ACTIVATIONS[name]

    def forward(self, places: Tensor) -> Tensor:
        """`[N, C, h, w]` -> the same shape."""
        return self.function(places)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 (Qiao et al. 2019); without a bias.

    Args:
        before, after: channels.
        size, stride, padding: in places.
    """

    epsilon = 1e-8

    def __init__(self, before: int, after: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(before, after, size, stride=stride, padding=padding, bias=False)

    def forward(self, places: Tensor) -> Tensor:
        """`[N, before, h, w]` -> `[N, after, h', w']`."""
        rows = self.weight.flatten(1)[None]
        filters = F.batch_norm(rows, None, None, training=True, eps=self.epsilon).view_as(self.weight)
        return F.conv2d(places, filters, None, self.stride, self.padding)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm (Ioffe and Szegedy 2015) that can also learn from a map of one place of one picture.

    One number has no spread; there, as in evaluation mode, the running statistics stand in.
    """

    def forward(self, places: Tensor) -> Tensor:
        """`[N, C, h, w]` -> the same shape."""
        if places.numel() > places.shape[1]:
            return super().forward(places)
        return F.batch_norm(places, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def convolution_norm(
    before: int, after: int, size: int, *, stride: int = 1, activation: str | None = None
) -> nn.Sequential:
    """A convolution, batch norm, and an activation where one is named."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        convolution=nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False),
        norm=BatchNorm(after),
    )
    if activation:
        parts["activation"] = Activation(activation)
    return nn.Sequential(parts)


class ResidualBlock(nn.Module):
    """f(path(x) + shortcut(x)) (He et al. 2016, equations 1 and 2).

    The shortcut is x itself, or a 1x1 convolution where the shape changes (their option B).

    Args:
        before, after: channels.
        stride: of the block.
        activation: a name in `ACTIVATIONS`.
        path: what is added to the shortcut.
    """

    def __init__(self, before: int, after: int, stride: int, activation: str, *path: nn.Module) -> None:
        super().__init__()
        changes = before != after or stride != 1
        self.path = nn.Sequential(*path)
        self.shortcut = convolution_norm(before, after, 1, stride=stride) if changes else nn.Identity()
        self.activation = ACTIVATIONS[activation]

    def forward(self, places: Tensor) -> Tensor:
        """`[N, before, h, w]` -> `[N, after, h / stride, w / stride]`."""
        return self.activation(self.path(places) + self.shortcut(places))


def basic_block(before: int, after: int, stride: int, activation: str) -> ResidualBlock:
    """Two 3x3 convolutions (He et al. 2016, figure 5, left)."""
    return ResidualBlock(
        before,
        after,
        stride,
        activation,
        convolution_norm(before, after, 3, stride=stride, activation=activation),
        convolution_norm(after, after, 3),
    )


def bottleneck_block(before: int, after: int, stride: int, activation: str) -> ResidualBlock:
    """1x1 to a quarter of the channels, 3x3 with the stride ("v1.5"), 1x1 (He et al. 2016, figure 5, right)."""
    inner = after // 4
    return ResidualBlock(
        before,
        after,
        stride,
        activation,
        convolution_norm(before, inner, 1, activation=activation),
        convolution_norm(inner, inner, 3, stride=stride, activation=activation),
        convolution_norm(inner, after, 1),
    )


class PreActivationBlock(nn.Module):
    """shortcut + path, the norm before each convolution (He et al. 2016b, figure 4e; Kolesnikov et al. 2020).

    Args:
        before, after: channels.
        stride: of its 3x3 convolution.
        norm: makes a norm with its activation for so many channels.
        projects: whether the shortcut is a 1x1 convolution of what the first norm gives; x itself otherwise.
    """

    def __init__(
        self, before: int, after: int, stride: int, *, norm: Callable[[int], nn.Module], projects: bool
    ) -> None:
        super().__init__()
        inner = after // 4
        self.first_norm = norm(before)
        self.path = nn.Sequential(
            OrderedDict(
                first=StandardisedConv2d(before, inner, 1),
                second_norm=norm(inner),
                second=StandardisedConv2d(inner, inner, 3, stride=stride, padding=1),
                third_norm=norm(inner),
                third=StandardisedConv2d(inner, after, 1),
            )
        )
        self.project = StandardisedConv2d(before, after, 1, stride=stride) if projects else None

    def forward(self, places: Tensor) -> Tensor:
        """`[N, before, h, w]` -> `[N, after, h / stride, w / stride]`."""
        normed = self.first_norm(places)
        shortcut = places if self.project is None else self.project(normed)
        output: Tensor = self.path(normed) + shortcut
        return output


class ConvNet(nn.Module):
    """A stem and stages of blocks; every stage but the first halves the map.

    Args:
        stem: `[N, channels, height, width]` -> `[N, before, height / 4, width / 4]`.
        before: channels that the stem gives.
        widths: channels of each stage.
        depths: blocks of each stage.
        block: makes a block: (channels in, channels out, stride, whether it is its stage's first).
        norm: of the last map; none where None.
    """

    def __init__(
        self,
        stem: nn.Module,
        before: int,
        widths: Sequence[int],
        depths: Sequence[int],
        block: Callable[[int, int, int, bool], nn.Module],
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        stages = []
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            stride = 1 if number == 0 else 2
            first = block(before, width, stride, True)
            stages.append(nn.Sequential(first, *(block(width, width, 1, False) for _ in range(depth - 1))))
            before = width
        self.stages = nn.Sequential(*stages)
        self.norm = norm or nn.Identity()

    def forward(self, pixels: Tensor) -> Packed:
        """`[N, channels, height, width]` -> N sequences of the h x w places of the last map, `[N * h * w, width]`."""
        places: Tensor = self.norm(self.stages(self.stem(pixels)))
        return Packed.from_block(places.flatten(2).transpose(1, 2))


def initialise_convolutions(module: nn.Module) -> None:
    """He's normal by what goes out of a convolution (He et al. 2015, equation 14); norms 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
