"""Pictures changed at random while a model learns, so that it does not learn them by heart.

What is random is a function of the key (seed, epoch) and the id of an example; no generator is drawn from.

Dims: n images, c channels, h height, w width, k classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from patchword.data.shuffle import uniform
from patchword.errors import UserError, did_you_mean

_CROP, _FLIP, _ERASE, _PAIR, _LEVEL = 101, 102, 103, 104, 105  # purposes: each has random numbers of its own


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a picture.

    Args:
        scale: share of the area that a random crop keeps, least and most; (1, 1) crops nothing.
        ratio: width / height of the crop, least and most.
        flip: chance of a mirror image, left and right swapped.
        light: largest relative change of brightness and of contrast.
        erase: chance that a rectangle (2 to 33 % of the area) is made the mean colour.
        mixup: alpha of mixup (Zhang et al. 2018); 0 mixes nothing.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    light: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0

    def __call__(self, pixels: Tensor, ids: np.ndarray, key: tuple[int, int]) -> Tensor:
        """Normalised pixels [n, c, h, w] -> the same shape; each picture's change depends on its id and key alone."""

        def draw(purpose: int, number: int, low: float = 0.0, high: float = 1.0) -> Tensor:
            values = uniform(*key, purpose, number, ids)
            return torch.from_numpy(low + (high - low) * values).to(pixels.dtype)

        count, _, height, width = pixels.shape
        if self.scale != (1.0, 1.0) or self.flip:
            area = draw(_CROP, 0, *self.scale)
            ratio = draw(_CROP, 1, math.log(self.ratio[0]), math.log(self.ratio[1])).exp()
            across, down = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
            theta = pixels.new_zeros(count, 2, 3)
            theta[:, 0, 0] = torch.where(draw(_FLIP, 0) < self.flip, -across, across)
            theta[:, 1, 1] = down
            theta[:, 0, 2] = (1 - across) * draw(_CROP, 2, -1.0, 1.0)
            theta[:, 1, 2] = (1 - down) * draw(_CROP, 3, -1.0, 1.0)
            grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
            pixels = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        if self.light:
            contrast = draw(_LEVEL, 0, 1 - self.light, 1 + self.light).view(-1, 1, 1, 1)
            brightness = draw(_LEVEL, 1, -self.light, self.light).view(-1, 1, 1, 1)
            mean = pixels.mean((1, 2, 3), keepdim=True)
            pixels = (pixels - mean) * contrast + mean + brightness
        if self.erase:
            area, ratio = draw(_ERASE, 1, 0.02, 0.33), draw(_ERASE, 2, math.log(0.3), math.log(3.3)).exp()
            tall, wide = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
            top, left = draw(_ERASE, 3) * (1 - tall), draw(_ERASE, 4) * (1 - wide)
            y, x = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
            rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
            columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
            hit = (draw(_ERASE, 0) < self.erase)[:, None, None] & rows[:, :, None] & columns[:, None, :]
            pixels = pixels.masked_fill(hit[:, None], 0.0)
        return pixels

    def mix(self, pixels: Tensor, targets: Tensor, ids: np.ndarray, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Each picture [n, c, h, w] mixed with its neighbour in the batch, and their float targets [n, k] with them.

        The share is from Beta(alpha, alpha), as a function of the key and the batch's ids.
        """
        if not self.mixup:
            return pixels, targets
        seed = [*key, _PAIR, *(int(i) for i in ids)]
        share = float(np.random.default_rng(seed).beta(self.mixup, self.mixup))
        return (
            pixels * share + pixels.roll(1, 0) * (1 - share),
            targets * share + targets.roll(1, 0) * (1 - share),
        )


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "light": Augmentation(scale=(0.7, 1.0), ratio=(0.9, 1.1)),
    "standard": Augmentation(scale=(0.6, 1.0), ratio=(0.8, 1.25), light=0.3, erase=0.25),
    "strong": Augmentation(scale=(0.5, 1.0), ratio=(0.75, 4 / 3), light=0.4, erase=0.25, mixup=0.2),
}
"""By name. None mirrors: letters and digits would become others."""


def augmentation(name: str) -> Augmentation:
    """A preset by name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in PRESETS:
        raise UserError(
            f"--augment {name}: there is no such one{did_you_mean(name, PRESETS)} Known: {', '.join(PRESETS)}."
        )
    return PRESETS[name]
