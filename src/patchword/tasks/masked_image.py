"""Masked image modelling: three quarters of the patches are hidden, their pixels are to be guessed (He et al. 2022).

The pictures need no labels. Which patches are hidden depends on the seed, the epoch and the picture's number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from patchword.checks.quick import learnt_from
from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images, RawImage, given_images
from patchword.data.loader import Batch, Examples
from patchword.data.shuffle import Permutation, mix
from patchword.data.sources import Labelled, read_labelled
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.masked_image import MaskedImageHead
from patchword.nn.finite import finite
from patchword.tasks.task import OF_IMAGES, Ask, Compute, Prepared, Reader, Task, kept_images, untaught

SHARE = 0.75
VALIDATION_SHARE = 0.1
_VALIDATION_PICTURES = 500
_HIDE, _HOLD_BACK = 1, 2  # purposes of a random number: equal keys, unequal numbers


class MaskedPictures(Examples):
    """Pictures as pixels, with other patches hidden in every epoch.

    Args:
        items: the pictures, paths or bytes, not yet decoded. All of them are read once, so that a broken one is told
            before training.
        origins: where each came from, for messages.
        processor: decides size and normalisation.
        tokens: what one picture is in the model: a class token and the patches.
        share: of the patches that is hidden.

    Raises:
        UserError: a picture can not be used, or has too few patches to hide some and show some.
    """

    def __init__(
        self,
        items: Sequence[RawImage],
        origins: Sequence[str],
        processor: ImageProcessor,
        tokens: int,
        share: float = SHARE,
    ) -> None:
        self.patches = tokens - 1
        self.seen = int(self.patches * (1 - share))
        if not 0 < self.seen < self.patches:
            raise UserError(
                f"A picture of {self.patches} patches can not be hidden to {share:.0%}. Take smaller patches "
                "(--patch-size) or larger pictures (--image-size)."
            )
        self.images = Images(items, origins, processor)
        self.images.check()

    def __len__(self) -> int:
        return len(self.images)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """The same for each, whatever is hidden."""
        return np.full(len(ids), 1 + self.patches)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Pixels and the patches that are seen; the numbers of the hidden ones as targets."""
        order = np.argsort(mix(*key, _HIDE, np.asarray(ids)[:, None], np.arange(self.patches)), axis=1)
        seen, hidden = (np.sort(part, axis=1) for part in np.split(order, [self.seen], axis=1))
        at = hidden + 1 + (1 + self.patches) * np.arange(len(ids))[:, None]
        return Batch(
            (torch.from_numpy(self.images.fetch(ids)), torch.from_numpy(seen)),
            torch.from_numpy(hidden.ravel()),
            (1 + self.patches,) * len(ids),
            torch.from_numpy(at.ravel()),
        )


class MaskedImage(Task):
    """Guess the hidden patches of a picture."""

    name = "masked_image"
    modality = "image"
    way_out = "masked_image"
    reads = "corpus"
    heeds = OF_IMAGES

    @classmethod
    def read(cls, data: Any, ask: Ask) -> Labelled:
        """The pictures of files or folders; labels are not looked at."""
        rows = read_labelled(data, image_column=ask.image_column, where=ask.where, need_labels=False)
        if rows.modality != cls.modality:
            raise UserError(f"{rows.origins[0]}: these are {rows.modality}s, but {cls.name} reads {cls.modality}s.")
        return rows

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask) -> MaskedPictures:
        """Pictures at the model's size."""
        items = cast("Sequence[RawImage]", rows.inputs)
        return MaskedPictures(items, rows.origins, kept_images(reader), ask.tokens_per_image)

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Find the pictures, and hold a part back for validation where none is given."""
        train = cls.read(ask.data, ask)
        notes, fingerprint = list(train.notes), train.fingerprint
        if train.labels is not None:
            notes.append("The labels are not used: this is learnt from pictures alone.")
        if ask.validation is None:
            count = min(_VALIDATION_PICTURES, round(len(train) * VALIDATION_SHARE))
            if not count:
                raise UserError(
                    f"{train.origins[0]}: with {len(train)} pictures there is none to hold back. "
                    "Give more, or --validation."
                )
            order = Permutation(len(train), ask.seed, _HOLD_BACK)[np.arange(len(train))]
            notes.append(f"{count:,} of {len(train):,} pictures held back for validation (seed {ask.seed}).")
            validation, train = train.subset(np.sort(order[:count])), train.subset(np.sort(order[count:]))
        else:
            validation = cls.read(ask.validation, ask)
            notes += [finding.sentence() for finding in learnt_from(train, {"validation": validation})]
        examples = cls.examples(train, reader, ask)
        height, width = examples.images.processor.size
        notes.append(
            f"Pictures read at {width} x {height}: {examples.patches - examples.seen} of {examples.patches} patches "
            "are hidden in each."
        )
        facts = {
            "fingerprint": fingerprint,
            "validation_fingerprint": validation.fingerprint,
            "columns": train.columns,
            "rows": len(train),
            "validation_rows": len(validation),
            "image_size": [height, width],
            "tokens_per_image": ask.tokens_per_image,
            "hidden_patches": examples.patches - examples.seen,
        }
        return Prepared(cls(), examples, cls.examples(validation, reader, ask), notes=tuple(notes), facts=facts)

    @classmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> MaskedImage:
        """There is nothing to restore."""
        return cls()

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> MaskedPictures:
        """Images, each as `data.images.given_image` takes it."""
        return MaskedPictures(*given_images(items), kept_images(reader), ask.tokens_per_image)

    def labelled(self, ask: Ask, reader: Reader) -> MaskedPictures:
        """Pictures that the model has not seen."""
        return self.examples(self.read(ask.data, ask), reader, ask)

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """Not what it is for.

        Raises:
            UserError: always; says what to do.
        """
        raise untaught(self.modality)

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Mean squared error of each hidden patch, summed over them."""
        assert isinstance(model.head, MaskedImageHead)
        pixels, pictures = _hidden(batch)
        return model.head.errors(model.features(*batch.inputs), pixels, pictures, batch.targets).sum()

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Loss, and that of guessing each hidden patch's own mean, on the very same patches."""
        assert isinstance(model.head, MaskedImageHead)
        loss = flat = 0.0
        count = 0
        for _, batch in compute.over(model, examples):
            pixels, pictures = _hidden(batch)
            targets = model.head.targets(pixels, pictures, batch.targets)
            flat += targets.var(-1, correction=0).sum().item()
            loss += finite(self.loss(model, batch)).item()
            count += batch.labels
        return {"loss": loss / count, "mean_loss": flat / count, "hidden_patches": count}

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A lower loss."""
        return (-metrics["loss"],)


def _hidden(batch: Batch) -> tuple[Tensor, Tensor]:
    """The pixels of a batch, and which picture each hidden patch belongs to, `[n]`."""
    pixels = batch.inputs[0]
    assert isinstance(pixels, Tensor)
    assert batch.at is not None
    return pixels, batch.at // batch.lengths[0]


TASK = MaskedImage
