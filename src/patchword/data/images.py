"""Image files -> pixels that a model takes: decoded, and kept once they have its size.

Dims: n images, h height, w width.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from patchword.data.image_decoding import Decoded, decode_details, open_image
from patchword.data.image_processor import ImageProcessor
from patchword.data.names import ARCHIVE_LEFTOVERS, class_name, shown_path
from patchword.errors import Notice, UserError

if TYPE_CHECKING:
    from PIL import Image

RawImage: TypeAlias = "Path | bytes | Image.Image"
"""An image not yet decoded: a file, its bytes, or one that is open."""
_ROTATED = (5, 6, 7, 8)  # the EXIF orientations that swap height and width


def oddities(image: Decoded) -> list[str]:
    """What a person should know of how an image was read; completes the sentence "Some images ..."."""
    found = []
    if image.frames:
        found.append("have several frames or pages: the first one is read")
    if image.assumed_white:
        found.append(
            f"hold levels of more than 8 bits and do not state their range: 0 to {image.assumed_white} is assumed from "
            "their largest level"
        )
    return found


class Images:
    """A set of images, read when asked for; their resized pixels are kept while they fit in `cache_bytes`."""

    def __init__(
        self,
        items: Sequence[RawImage],
        origins: Sequence[str],
        processor: ImageProcessor,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.items = items
        self.origins = origins
        self.processor = processor
        height, width = processor.size
        kept = min(len(items), cache_bytes // (height * width * 3))
        self._kept = np.empty((kept, height, width, 3), np.uint8)  # takes memory only where it is written
        self._is_kept = np.zeros(kept, bool)
        self._oddities: set[str] = set()

    def __len__(self) -> int:
        return len(self.items)

    def fetch(self, ids: np.ndarray) -> np.ndarray:
        """float32 [n, 3, h, w], normalised, for ids [n]."""
        return self.processor.normalise(self.levels(ids))

    def levels(self, ids: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, 3] for ids [n]."""
        pixels = np.empty((len(ids), *self._kept.shape[1:]), np.uint8)

        def read(slot: int) -> None:
            pixels[slot] = self._pixels(int(ids[slot]))

        missing = [slot for slot, i in enumerate(ids) if i >= len(self._kept) or not self._is_kept[i]]
        for _ in self._pool.map(read, missing):
            pass
        there = np.setdiff1d(np.arange(len(ids)), missing)
        pixels[there] = self._kept[np.asarray(ids)[there]]
        return pixels

    def check(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read every image once, and keep what fits. One UserError names those that can not be used.

        A Notice reports images of which only the first frame is read, or whose range of levels was assumed.
        `progress(done, total)` is called now and then.
        """
        broken: list[str] = []

        def read(i: int) -> str | None:
            try:
                self._pixels(i)
            except UserError as error:
                return str(error)
            return None

        for start in range(0, len(self), 256):
            ids = range(start, min(start + 256, len(self)))
            broken += filter(None, self._pool.map(read, ids))
            if progress is not None:
                progress(ids.stop, len(self))
        if broken:
            more = f"\nand {len(broken) - 5} more" if len(broken) > 5 else ""
            count = "1 image" if len(broken) == 1 else f"{len(broken)} images"
            raise UserError(f"{count} of {len(self)} can not be used:\n" + "\n".join(broken[:5]) + more)
        for oddity in sorted(self._oddities):
            warnings.warn(f"Some images {oddity}. `patchword check` lists them.", Notice, stacklevel=2)

    def median_size(self, sample: int = 200) -> tuple[int, int]:
        """(height, width), each the median over up to `sample` images spread evenly over the set."""
        sizes = []
        for i in np.unique(np.linspace(0, len(self) - 1, min(sample, len(self))).astype(int)):
            try:
                with open_image(self.items[i]) as image:
                    turned = image.getexif().get(0x0112) in _ROTATED
                    sizes.append(image.size if turned else image.size[::-1])
            except Exception:  # `check` tells of those
                continue
        if not sizes:
            raise UserError("None of the images can be read.")
        height, width = np.median(sizes, axis=0)
        return int(height), int(width)

    def _pixels(self, i: int) -> np.ndarray:
        if i < len(self._kept) and self._is_kept[i]:
            return np.asarray(self._kept[i])
        image = decode_details(self.items[i], self.origins[i])
        self._oddities.update(oddities(image))
        try:
            pixels = self.processor.fit(image.rgb)
        except UserError as error:
            raise UserError(f"{self.origins[i]}: {error}.") from None
        if i < len(self._kept):
            self._kept[i] = pixels
            self._is_kept[i] = True
        return pixels

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="images")


ACCEPTED = (
    "An image is the path or the bytes of a file, an open file, a PIL image, a NumPy array [height, width] or "
    "[height, width, 1, 3 or 4], or a tensor [1, 3 or 4, height, width]; arrays hold 0 to 255 (uint8), 0 to 65535 "
    "(uint16) or 0 to 1 (floating point or bool)."
)
"""What is taken for an image in Python."""


def given_image(item: Any) -> RawImage:
    """An image as a person hands it over in Python.

    Args:
        item: the path or the bytes of a file, an open file, a PIL image, an array with channels last, or a tensor with
            channels first. Levels are 0 to 255 (uint8), 0 to 65535 (uint16), or 0 to 1 (floating point or bool).

    Raises:
        UserError: it is none of them; the message says what was given and what is accepted.
    """
    from PIL import Image

    if isinstance(item, str):
        return Path(item)
    if isinstance(item, Path | bytes | Image.Image):
        return item
    if isinstance(item, bytearray | memoryview):
        return bytes(item)
    if hasattr(item, "read"):
        content = item.read()
        if isinstance(content, bytes):
            return content
        raise UserError(f"the file is open as text; open it with mode 'rb'. {ACCEPTED}")
    if isinstance(item, Tensor):
        pixels = item.detach().to("cpu", torch.float32 if item.dtype == torch.bfloat16 else None).numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
        return _from_array(pixels, f"a tensor {list(item.shape)} of {str(item.dtype).removeprefix('torch.')}")
    if isinstance(item, np.ndarray):
        return _from_array(item, f"an array {list(item.shape)} of {item.dtype}")
    raise UserError(f"{type(item).__name__} is not an image. {ACCEPTED}")


def given_images(items: Sequence[Any]) -> tuple[list[RawImage], list[str]]:
    """Images as a person hands them over in Python, and what each is called in messages.

    Raises:
        UserError: one is not an image.
    """
    images, names = [], []
    for number, item in enumerate(items, 1):
        called = f"image {number}" if len(items) > 1 else "the image"
        names.append(shown_path(item) if isinstance(item, str | Path) else called)
        try:
            images.append(given_image(item))
        except UserError as error:
            raise UserError(f"{called}: {error}") from None
    return images, names


def _from_array(pixels: np.ndarray, what: str) -> Image.Image:
    """`[h, w]` or `[h, w, 1, 3 or 4]`, levels as their type has them -> an image with 8 bits a channel."""
    from PIL import Image

    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or not pixels.size:
        raise UserError(f"{what} is not an image. {ACCEPTED}")
    white = {"b": 1, "f": 1, "u": 65535 if pixels.dtype == np.uint16 else 255}.get(pixels.dtype.kind, 255)
    if pixels.dtype.kind not in "buif" or not (pixels.min() >= 0 and pixels.max() <= white):
        between = f" with values from {pixels.min()} to {pixels.max()}" if pixels.dtype.kind in "buif" else ""
        raise UserError(f"{what}{between} is not an image. {ACCEPTED}")
    levels = pixels if pixels.dtype == np.uint8 else np.round(pixels * (255 / white)).astype(np.uint8)
    return Image.fromarray(levels[:, :, 0] if levels.ndim == 3 and levels.shape[2] == 1 else levels)


def image_in_cell(cell: object, folder: Path) -> Path | bytes | None:
    """The image in a cell: a file, bytes, a path from the table's folder, or the {bytes, path} of `datasets`."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, Path):
        return cell
    if isinstance(cell, str) and cell.strip():
        return folder / cell.strip()
    return cell if isinstance(cell, bytes) and cell else None


def class_folders(names: Sequence[Path], folders: Sequence[Path]) -> list[str | None]:
    """The class of each image: the first folder in its name (`class_name`), None where there is none.

    Args:
        names: of the images, from the folder that was given.
        folders: those that were given; a class folder in them without images is a UserError.
    """
    classes = [class_name(name.parts[0]) if len(name.parts) > 1 else None for name in names]
    kinds = set(classes)
    for folder in folders if any(kinds) else []:
        for inner in sorted(folder.iterdir()):
            hidden = inner.name.startswith(".") or inner.name in ARCHIVE_LEFTOVERS
            if inner.is_dir() and not hidden and class_name(inner.name) not in kinds:
                raise UserError(
                    f"The class folder {shown_path(inner)} has no images that can be read. Put some in, or remove the "
                    "folder."
                )
    return classes
