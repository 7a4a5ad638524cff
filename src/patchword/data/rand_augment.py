"""RandAugment (Cubuk et al. 2020): operations of a common magnitude, chosen for each picture.

The operations and what a magnitude means to them are those of torchvision, whose scale goes to 30. What an operation
moves in from outside has the colour of the picture's edge.

Dims: n images, h height, w width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]
"""Pixels [n, 3, h, w] from 0 to 1, and how strong, [n] from -1 to 1 -> pixels."""

MOST = 30.0
_DEGREES, _SHEAR, _SHIFT, _CHANGE, _BITS = 30.0, 0.3, 150 / 331, 0.9, 4  # at the largest magnitude


def rand_augment(pixels: Tensor, which: Tensor, sign: Tensor, magnitude: float) -> Tensor:
    """One operation for each picture.

    Args:
        pixels: [n, 3, h, w] from 0 to 1.
        which: [n] from 0 to 1, chooses the operation.
        sign: [n] from 0 to 1; under a half, an operation that has two directions goes in the other one.
        magnitude: 0 to 30.
    """
    chosen = (which * len(OPERATIONS)).long().clamp(max=len(OPERATIONS) - 1)
    strength = torch.where(sign < 0.5, -magnitude / MOST, magnitude / MOST).to(pixels.dtype)
    changed = pixels.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        mine = torch.nonzero(chosen == number).flatten()
        if len(mine):
            changed[mine] = operation(pixels[mine], strength[mine])
    return changed.clamp_(0.0, 1.0)


def _autocontrast(pixels: Tensor, strength: Tensor) -> Tensor:
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pixels - low) / (high - low).clamp(min=1e-6), pixels)


def _equalize(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import equalize

    changed: Tensor = equalize(pixels)
    return changed


def _rotate(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.geometry import rotate

    changed: Tensor = rotate(pixels, strength * _DEGREES, padding_mode="border")
    return changed


def _solarize(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import solarize

    changed: Tensor = solarize(pixels, 1 - strength.abs())
    return changed


def _posterize(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import posterize

    changed: Tensor = posterize(pixels, 8 - (strength.abs() * _BITS).round().int())
    return changed


def _color(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    changed: Tensor = adjust_saturation_with_gray_subtraction(pixels, 1 + strength * _CHANGE)
    return changed


def _contrast(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    changed: Tensor = adjust_contrast_with_mean_subtraction(pixels, 1 + strength * _CHANGE)
    return changed


def _brightness(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import adjust_brightness_accumulative

    changed: Tensor = adjust_brightness_accumulative(pixels, 1 + strength * _CHANGE)
    return changed


def _sharpness(pixels: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import sharpness

    changed: Tensor = sharpness(pixels, 1 + strength * _CHANGE)
    return changed


def _shear(x: float, y: float) -> Operation:
    def operation(pixels: Tensor, strength: Tensor) -> Tensor:
        from kornia.geometry import shear

        slopes = strength[:, None] * strength.new_tensor([x, y]) * _SHEAR
        changed: Tensor = shear(pixels, slopes, padding_mode="border")
        return changed

    return operation


def _translate(x: float, y: float) -> Operation:
    def operation(pixels: Tensor, strength: Tensor) -> Tensor:
        from kornia.geometry import translate

        height, width = pixels.shape[2:]
        shifts = strength[:, None] * strength.new_tensor([x * width, y * height]) * _SHIFT
        changed: Tensor = translate(pixels, shifts, padding_mode="border")
        return changed

    return operation


OPERATIONS: dict[str, Operation] = {
    "identity": lambda pixels, strength: pixels,
    "shear_x": _shear(1.0, 0.0),
    "shear_y": _shear(0.0, 1.0),
    "translate_x": _translate(1.0, 0.0),
    "translate_y": _translate(0.0, 1.0),
    "rotate": _rotate,
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
