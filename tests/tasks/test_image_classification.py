"""Pictures to learn from are changed; pictures to be judged by are not."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from patchword.data.augment import augmentation
from patchword.data.image_processor import ImageProcessor
from patchword.tasks.image_classification import ImageExamples


def _examples() -> ImageExamples:
    items = []
    for seed in range(4):
        file = io.BytesIO()
        values = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(values).save(file, "PNG")
        items.append(file.getvalue())
    processor = ImageProcessor(size=(16, 16))
    return ImageExamples(items, [f"image {i}" for i in range(4)], processor, 4, np.array([0, 2, 1, 2]))


def test_without_being_told_pictures_stay_as_they_are() -> None:
    examples, ids = _examples(), np.arange(4)
    (pixels,), targets = examples.batch(ids, (0, 0)).inputs, examples.batch(ids, (0, 0)).targets
    assert isinstance(pixels, torch.Tensor)
    assert torch.equal(pixels, torch.from_numpy(examples.images.fetch(ids)))
    assert targets.tolist() == [0, 2, 1, 2]


def test_mixed_pictures_have_a_chance_for_every_class() -> None:
    examples, ids = _examples(), np.arange(4)
    examples.augment(augmentation("strong"), 3)
    batch, again = examples.batch(ids, (0, 1)), examples.batch(ids, (0, 1))
    assert torch.equal(batch.targets, again.targets)
    assert batch.targets.shape == (4, 3)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(4))
    first, second = batch.inputs[0], again.inputs[0]
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert torch.equal(first, second)
