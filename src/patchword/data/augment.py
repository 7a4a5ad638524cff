"""Pictures changed at random while a model learns, so that it does not learn them by heart.

What is random is a function of the key (seed, epoch) and the id of an example; no generator is drawn from.

Dims: n images, c channels, h height, w width, k classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from patchword.data.rand_augment import rand_augment
from patchword.data.shuffle import uniform
from patchword.errors import UserError, did_you_mean

_CROP, _FLIP, _ERASE, _PAIR, _LEVEL, _RAND = 101, 102, 103, 104, 105, 106  # purposes: random numbers of their own


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a picture.

    Args:
        scale: share of the area that a random crop keeps, least and most; (1, 1) crops nothing.
        ratio: width / height of the crop, least and most.
        flip: chance of a mirror image, left and right swapped.
        light: largest relative change of brightness and of contrast.
        operations: of RandAugment (Cubuk et al. 2020), how many are done to a picture.
        magnitude: of RandAugment, 0 to 30.
        erase: chance that a rectangle (2 to 33 % of the area) is made the picture's mean colour.
        mixup: alpha of mixup (Zhang et al. 2018); 0 mixes nothing.
        cutmix: alpha of CutMix (Yun et al. 2019); where both are given, a batch gets the one or the other.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    light: float = 0.0
    operations: int = 0
    magnitude: float = 9.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether pictures get parts of others, so that a target is no longer one class."""
        return bool(self.mixup or self.cutmix)

    def __call__(self, pixels: Tensor, ids: np.ndarray, key: tuple[int, int]) -> Tensor:
        """Pixels [n, c, h, w] from 0 to 1, not normalised -> the same; each one's change is up to its id and key."""

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
            brightness = draw(_LEVEL, 0, 1 - self.light, 1 + self.light).view(-1, 1, 1, 1)
            contrast = draw(_LEVEL, 1, 1 - self.light, 1 + self.light).view(-1, 1, 1, 1)
            pixels = (pixels * brightness).clamp(0.0, 1.0)
            mean = pixels.mean((1, 2, 3), keepdim=True)
            pixels = ((pixels - mean) * contrast + mean).clamp(0.0, 1.0)
        for number in range(self.operations):
            pixels = rand_augment(pixels, draw(_RAND, 2 * number), draw(_RAND, 2 * number + 1), self.magnitude)
        if self.erase:
            area, ratio = draw(_ERASE, 1, 0.02, 0.33), draw(_ERASE, 2, math.log(0.3), math.log(3.3)).exp()
            tall, wide = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
            top, left = draw(_ERASE, 3) * (1 - tall), draw(_ERASE, 4) * (1 - wide)
            y, x = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
            rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
            columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
            hit = (draw(_ERASE, 0) < self.erase)[:, None, None] & rows[:, :, None] & columns[:, None, :]
            pixels = torch.where(hit[:, None], pixels.mean((2, 3), keepdim=True), pixels)
        return pixels

    def mix(self, pixels: Tensor, targets: Tensor, ids: np.ndarray, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Each picture [n, c, h, w] mixed with its neighbour in the batch, and their float targets [n, k] with them.

        The share, the same for the batch, is from Beta(alpha, alpha), as a function of the key and the batch's ids.
        """
        if not self.mixes:
            return pixels, targets
        random = np.random.default_rng([*key, _PAIR, *(int(i) for i in ids)])
        cut = self.cutmix and (not self.mixup or random.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(random.beta(alpha, alpha))
        if cut:
            height, width = pixels.shape[2:]
            rows, columns = (_span(random, side, math.sqrt(1 - share)) for side in (height, width))
            mixed = pixels.clone()
            mixed[:, :, rows, columns] = pixels.roll(1, 0)[:, :, rows, columns]
            share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        else:
            mixed = pixels * share + pixels.roll(1, 0) * (1 - share)
        return mixed, targets * share + targets.roll(1, 0) * (1 - share)


def _span(random: np.random.Generator, side: int, share: float) -> slice:
    """Where a piece of a side lies whose middle is anywhere, as far as it is inside."""
    middle, half = random.integers(side), int(side * share) // 2
    return slice(max(0, middle - half), min(side, middle + half))


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "light": Augmentation(scale=(0.7, 1.0), ratio=(0.9, 1.1)),
    "standard": Augmentation(scale=(0.6, 1.0), ratio=(0.8, 1.25), light=0.3, erase=0.25),
    "strong": Augmentation(scale=(0.5, 1.0), ratio=(0.75, 4 / 3), operations=2, erase=0.25, mixup=0.2, cutmix=1.0),
    "flip": Augmentation(flip=0.5),
    "randaugment": Augmentation(operations=2),
    "mixup": Augmentation(mixup=0.2),
    "cutmix": Augmentation(cutmix=1.0),
}
"""By name. Only "flip" mirrors: letters and digits would become others."""

AUTO = "auto"


def auto(size: tuple[int, int]) -> str:
    """The preset for pictures of (height, width) where nothing is said: what was not seen to do harm.

    Below 16 pixels a crop leaves little but blur, so nothing is changed; that was not measured.
    """
    return "light" if min(size) >= 16 else "none"


def augmentation(name: str) -> Augmentation:
    """A preset by name, or several that are done together ("standard+flip"); a later one wins where they differ.

    Raises:
        UserError: there is none of that name.
    """
    how = Augmentation()
    for part in name.split("+"):
        if part not in PRESETS:
            raise UserError(
                f"--augment {name}: there is no '{part}'{did_you_mean(part, PRESETS)} Known: auto, "
                f"{', '.join(PRESETS)}; several are joined with a +, as in standard+flip."
            )
        said = {field.name: getattr(PRESETS[part], field.name) for field in fields(Augmentation)}
        how = replace(how, **{key: value for key, value in said.items() if value != getattr(Augmentation, key)})
    return how
