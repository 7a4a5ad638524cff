"""Image files -> pixels that a model takes: decoded, and kept once they have its size.

Dims: n images, h height, w width.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchword.data.image_processor import ImageProcessor
from patchword.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # not EPS, for which PIL starts Ghostscript
_ROTATED = (5, 6, 7, 8)  # the EXIF orientations that swap height and width


def _open(image: Path | bytes) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=_FORMATS)


def decode(image: Path | bytes, origin: str) -> Image.Image:
    """The image as RGB, upright (EXIF); transparent parts on white, 16 bits a channel scaled to 8.

    What can not be decoded, or has a side under 2 pixels, is a UserError that names `origin`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _open(image) as opened:
            rgb = _rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise UserError(f"{origin} is not an image that can be read.") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{origin} is too large an image ({error}). Scale it down.") from None
    except Exception as error:  # a broken file makes the decoders raise nearly anything
        raise UserError(f"{origin} can not be decoded as an image: {error}. Replace or remove it.") from None
    if min(rgb.size) < 2:
        raise UserError(f"{origin} is {rgb.width} x {rgb.height} pixels; both sides must have at least 2.")
    return rgb


def mode_of(image: Path | bytes) -> str:
    """How an image that can be decoded keeps its pixels, as PIL calls it: L, RGB, RGBA, P, ..."""
    with _open(image) as opened:
        return str(opened.mode)


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, in some formats kept in 32
        levels = np.asarray(image).astype(np.float64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("its pixels are numbers of 32 bits; save it with 8 or 16")
        image = Image.fromarray(np.round(levels / 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


class Images:
    """A set of images, read when asked for; their resized pixels are kept while they fit in `cache_bytes`."""

    def __init__(
        self,
        items: Sequence[Path | bytes],
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

    def median_size(self, sample: int = 200) -> tuple[int, int]:
        """(height, width), each the median over up to `sample` images spread evenly over the set."""
        sizes = []
        for i in np.unique(np.linspace(0, len(self) - 1, min(sample, len(self))).astype(int)):
            try:
                with _open(self.items[i]) as image:
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
        image = decode(self.items[i], self.origins[i])
        try:
            pixels = self.processor.fit(image)
        except UserError as error:
            raise UserError(f"{self.origins[i]}: {error}.") from None
        if i < len(self._kept):
            self._kept[i] = pixels
            self._is_kept[i] = True
        return pixels

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="images")


def image_in_cell(cell: object, folder: Path) -> Path | bytes | None:
    """The image in a cell: bytes, a path from the table's folder, or the {bytes, path} of `datasets`."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, str) and cell.strip():
        return folder / cell.strip()
    return cell if isinstance(cell, bytes) and cell else None


def class_folders(names: Sequence[Path], folders: Sequence[Path]) -> list[str | None]:
    """The class of each image: the first folder in its name, None where there is none.

    Args:
        names: of the images, from the folder that was given.
        folders: those that were given; a class folder in them without images is a UserError.
    """
    classes = [name.parts[0] if len(name.parts) > 1 else None for name in names]
    kinds = set(classes)
    for folder in folders if any(kinds) else []:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith(".") and inner.name not in kinds:
                raise UserError(f"The class folder {inner} has no images. Put some in, or remove the folder.")
    return classes
