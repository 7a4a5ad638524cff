"""The demo's pictures: scikit-learn's handwritten digits as files, 0 to 4 apart from 5 to 9."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchword.demo.corpus import content_hash

TEST_SHARE = 0.5  # of the pictures of 5 to 9


@dataclass(frozen=True)
class DigitData:
    """Folders with a folder for each class: digits 0 to 4 for stage 1; 5 to 9 to draw labels from, and to test."""

    pretrain: Path
    train: Path
    test: Path


def write_digits(folder: Path) -> DigitData:
    """scikit-learn's handwritten digits (8 x 8 pixels, 17 levels; Alpaydin and Kaynak 1998) as PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = DigitData(folder / "0-4", folder / "5-9-train", folder / "5-9-test")
    for i, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        pixels = np.round(image * (255 / 16)).astype(np.uint8)
        later = data.test if content_hash(pixels.tobytes().hex()) / 2**64 < TEST_SHARE else data.train
        path = (data.pretrain if digit < 5 else later) / str(digit) / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return data
