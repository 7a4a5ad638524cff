"""What a picture shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from patchword.data.augment import AUTO, PRESETS, Augmentation, augmentation, auto
from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images, RawImage, given_images
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Labelled
from patchword.errors import UserError
from patchword.tasks.classification import Classification
from patchword.tasks.labelled import LabelledExamples
from patchword.tasks.labels import REGRESSION, SINGLE
from patchword.tasks.task import OF_IMAGES, Ask, Prepared, Reader, kept_images

_FLOOR_SIDE = 32  # pixels; what the floor reads


class ImageExamples(LabelledExamples):
    """Pictures as pixels.

    Args:
        items: the pictures, paths or bytes, not yet decoded. All of them are read once, so that a broken one is told
            before training.
        origins: where each came from, for messages.
        processor: decides size and normalisation.
        tokens: what one picture will be in the model.
        targets: one a picture, where they are known.
    """

    def __init__(
        self,
        items: Sequence[RawImage],
        origins: Sequence[str],
        processor: ImageProcessor,
        tokens: int,
        targets: np.ndarray | None = None,
    ) -> None:
        self.images = Images(items, origins, processor)
        self.images.check()
        self.origins = origins
        self.tokens = tokens
        self.targets = np.zeros(len(items), np.int64) if targets is None else targets
        height, width = processor.size
        self.augmentation = PRESETS["none"]
        self.classes: int | None = None
        self.facts = {"image_size": [height, width], "tokens_per_image": tokens}
        was = self.images.median_size()
        self.notes = (
            f"Pictures of {was[1]} x {was[0]} pixels (the median), read at {width} x {height}: {tokens} tokens each.",
        )

    def __len__(self) -> int:
        return len(self.images)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """The same for each."""
        return np.full(len(ids), self.tokens)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Pixels and targets; mixed pictures of one class each have a chance for every class as target."""
        targets = torch.from_numpy(self.targets[ids])
        if self.augmentation == PRESETS["none"]:
            return Batch((torch.from_numpy(self.images.fetch(ids)),), targets, (self.tokens,) * len(ids))
        levels = torch.from_numpy(self.images.levels(ids)).permute(0, 3, 1, 2)
        changed = self.augmentation(levels.contiguous().float() / 255, ids, key)
        pixels = torch.from_numpy(self.images.processor.normalise_shares(changed.numpy()))
        if self.augmentation.mixes:
            soft = targets if self.classes is None else F.one_hot(targets, self.classes).float()
            pixels, targets = self.augmentation.mix(pixels, soft, ids, key)
        return Batch((pixels,), targets, (self.tokens,) * len(ids))

    def augment(self, how: Augmentation, classes: int | None) -> None:
        """From now on `batch` changes the pictures; `classes` where a target is the number of one."""
        self.augmentation, self.classes = how, classes

    def parts(self) -> tuple[Examples, np.ndarray]:
        """The pictures as they are: what is judged is never changed."""
        plain = copy(self)
        plain.augment(PRESETS["none"], None)
        return plain, np.arange(len(self))

    def raw(self) -> Any:
        """Pixels as a floor reads them: at most 32 x 32, `[n, numbers]`."""
        height, width = self.images.processor.size
        step = max(1, height // _FLOOR_SIDE), max(1, width // _FLOOR_SIDE)
        flat = []
        for start in range(0, len(self), 256):
            ids = np.arange(start, min(start + 256, len(self)))
            flat.append(self.images.fetch(ids)[:, :, :: step[0], :: step[1]].reshape(len(ids), -1))
        return np.concatenate(flat)


class ImageClassification(Classification):
    """Which class (or classes, or number) a picture has."""

    name = "image_classification"
    modality = "image"
    understands = ("class_distilled",)
    heeds = (*OF_IMAGES, *Classification.heeds, "augment")

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """As any classification; the pictures to learn from are changed as asked, those to be judged by never."""
        # A wrong name is told before anything is read.
        if ask.contrast and augmentation(ask.augment.replace(AUTO, "none")).mixes:
            raise UserError(f"--contrast needs pictures of one class each, and --augment {ask.augment} mixes them.")
        prepared = super().prepare(ask, reader, progress)
        train, problem = prepared.train, prepared.task.problem
        assert isinstance(train, ImageExamples)
        notes = []
        name = ask.augment.replace(AUTO, auto(train.images.processor.size))
        if name != ask.augment:
            notes.append(f"The {len(train):,} pictures to learn from are changed as in --augment {name}.")
        how = augmentation(name)
        if how.mixes and problem == REGRESSION:
            how = replace(how, mixup=0.0, cutmix=0.0)
            notes.append("Pictures are not mixed, since their labels are numbers.")
        train.augment(how, len(prepared.task.labels) if problem == SINGLE else None)
        facts = {**prepared.facts, "augment": name}
        return replace(prepared, notes=(*prepared.notes, *notes), facts=facts)

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> ImageExamples:
        """Images without labels, each as `data.images.given_image` takes it."""
        return ImageExamples(*given_images(items), kept_images(reader), ask.tokens_per_image)

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> ImageExamples:
        """The rows' pictures at the model's size."""
        items = cast("Sequence[RawImage]", rows.inputs)
        return ImageExamples(items, rows.origins, kept_images(reader), ask.tokens_per_image, targets)


TASK = ImageClassification
