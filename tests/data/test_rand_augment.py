"""RandAugment's operations compared with PIL's, at the same magnitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from patchword.data.rand_augment import OPERATIONS, rand_augment

Change = Callable[[Image.Image], Image.Image]
HEIGHT, WIDTH = 20, 24
LEVELS = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8) // np.uint8(2) + np.uint8(40)
PIXELS = torch.from_numpy(LEVELS).permute(0, 3, 1, 2).float() / 255


def theirs(change: Change) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(picture))) for picture in LEVELS]).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("strength", [0.3, -0.3, 1.0, -1.0])
def test_colours_are_those_of_pil(strength: float) -> None:
    factor = 1 + 0.9 * strength
    changes: dict[str, Change] = {
        "identity": lambda image: image,
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(factor),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(factor),
        "color": lambda image: ImageEnhance.Color(image).enhance(factor),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(factor),
        "posterize": lambda image: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
        "solarize": lambda image: ImageOps.solarize(image, int(255 * (1 - abs(strength)))),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
    }
    for name, change in changes.items():
        ours = OPERATIONS[name](PIXELS, torch.full((2,), strength)).clamp(0, 1).numpy() * 255
        # PIL cuts decimals off, once or twice.
        assert np.abs(ours - theirs(change)).max() < 2, name


@pytest.mark.parametrize("strength", [0.5, -0.5])
def test_what_moves_goes_as_far_as_in_torchvision(strength: float) -> None:
    """A bright spot near the middle is where the definition has it: degrees, slopes and shares of the side."""
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    spot = torch.exp(-((x - 26) ** 2 + (y - 20) ** 2) / 8).expand(1, 3, 41, 41)

    def middle(name: str) -> tuple[float, float]:
        moved = OPERATIONS[name](spot, torch.tensor([strength]))[0, 0]
        return float((x * moved).sum() / moved.sum()) - 20, float((y * moved).sum() / moved.sum()) - 20

    shift = strength * 41 * 150 / 331
    assert middle("translate_x") == pytest.approx((6 + shift, 0), abs=0.3)
    assert middle("translate_y") == pytest.approx((6, shift), abs=0.3)
    across, down = middle("rotate")
    assert np.hypot(across, down) == pytest.approx(6, abs=0.2)
    assert abs(np.degrees(np.arctan2(down, across))) == pytest.approx(30 * abs(strength), abs=2)
    # About the corner, as the paper's code has it: row 20 and column 26 are that far from it.
    assert abs(middle("shear_x")[0] - 6) == pytest.approx(20 * 0.3 * abs(strength), abs=0.2)
    assert abs(middle("shear_y")[1]) == pytest.approx(26 * 0.3 * abs(strength), abs=0.2)


def test_each_picture_has_its_own_operation_and_others_do_not_matter() -> None:
    count = len(OPERATIONS)
    pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    which, sign = (torch.arange(count) + 0.5) / count, torch.full((count,), 0.9)
    together = rand_augment(pixels, which, sign, 15.0)
    for i, operation in enumerate(OPERATIONS.values()):
        alone = operation(pixels[i : i + 1], torch.tensor([0.5])).clamp(0, 1)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


def test_one_colour_remains_one() -> None:
    flat = torch.full((len(OPERATIONS), 3, 9, 9), 0.25)
    which = (torch.arange(len(OPERATIONS)) + 0.5) / len(OPERATIONS)
    changed = rand_augment(flat, which, torch.zeros(len(OPERATIONS)), 30.0)
    assert changed.isfinite().all()
    assert (changed - changed[:, :, :1, :1]).abs().max() < 1e-6
