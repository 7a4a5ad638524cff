"""Image files, and images already in memory, as RGB with 8 bits a channel.

Every format that Pillow decodes by itself is read, by content and not by the file's ending. Colour profiles (ICC) are
not applied, as in torchvision and `transformers`.

Grey levels of more than 8 bits need the level that stands for white. It is taken from the file where the file states
it (BitsPerSample below 16, MaxSampleValue, SMaxSampleValue of a TIFF; JPEG 2000 and PGM are scaled to 16 bits by
Pillow). Elsewhere 8-, 12- and 16-bit levels look alike inside a 16- or 32-bit container, and the white level is the
smallest of 255, 4095 and 65535 (floating point: 1, 255 and 65535) that no level exceeds. Two images of one set can then
differ only where all levels of one are below a sixteenth of the range; `Decoded.assumed_white` makes that visible.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchword.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

_WITH_SIGNATURE = (  # not EPS, for which Pillow starts Ghostscript, and nothing that Pillow only identifies
    *("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000"),
    *("MPO", "ICO", "ICNS", "PSD", "QOI", "DDS", "SGI", "SUN"),
)
_FORMATS = (*_WITH_SIGNATURE, "DIB", "PCX", "XBM", "XPM", "TGA")
"""Names of Pillow's decoders. The last ones accept bytes by chance too often to recognise a file by them alone."""

_SCALED = ("PPM", "JPEG2000")  # Pillow scales their levels to 16 bits
_BITS, _PHOTOMETRIC, _MAX_SAMPLE, _SAMPLE_FORMAT, _SMAX_SAMPLE = 258, 262, 281, 339, 341  # tags of a TIFF
_WHITES = (255, 4095, 65535)
_FLOAT_WHITES = (1, 255, 65535)


@dataclass(frozen=True)
class Decoded:
    """An image, and how it was stored.

    Attributes:
        rgb: the first frame, upright, mode RGB.
        mode: of the stored pixels, as Pillow names it: L, RGB, RGBA, P, ...
        frames: whether there are several frames or pages.
        assumed_white: the level that was taken for white where the file does not state it; None where it does.
    """

    rgb: Image.Image
    mode: str
    frames: bool = False
    assumed_white: int | None = None


@cache
def _formats(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that this installation of Pillow decodes; HEIC with the plugin pillow-heif."""
    from PIL import Image

    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in names if name in Image.OPEN)


def is_image(path: Path) -> bool:
    """Whether the content of a file is an image that can be decoded, by its signature and header."""
    from PIL import Image

    try:
        with Image.open(path, formats=_formats(_WITH_SIGNATURE)):
            return True
    except Exception:  # decoders raise nearly anything
        return False


def open_image(image: Path | bytes | Image.Image) -> AbstractContextManager[Image.Image]:
    """The image with its header read and its pixels not yet decoded; one that is open stays so."""
    from PIL import Image

    if isinstance(image, Image.Image):
        return contextlib.nullcontext(image)
    return Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=_formats(_FORMATS))


def decode(image: Path | bytes | Image.Image, origin: str) -> Image.Image:
    """The image as RGB, upright (EXIF); transparent parts on white, levels of more than 8 bits scaled to 8.

    What can not be decoded, or has a side under 2 pixels, is a UserError that names `origin`.
    """
    return decode_details(image, origin).rgb


def decode_details(image: Path | bytes | Image.Image, origin: str) -> Decoded:
    """As `decode`, with how the image was stored."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open_image(image) as opened:
            mode = opened.mode
            # Phones keep a depth map or a preview as the second frame of a JPEG (MPO).
            frames = opened.format != "MPO" and bool(getattr(opened, "is_animated", False))
            rgb, white = _rgb(opened)
    except UnidentifiedImageError:
        raise UserError(f"{origin} is not an image that can be read.") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{origin} is too large an image ({error}). Scale it down.") from None
    except Exception as error:  # a broken file makes the decoders raise nearly anything
        raise UserError(f"{origin} can not be decoded as an image: {error}. Replace or remove it.") from None
    if min(rgb.size) < 2:
        raise UserError(f"{origin} is {rgb.width} x {rgb.height} pixels; both sides must have at least 2.")
    return Decoded(rgb, mode, frames, white)


def _rgb(image: Image.Image) -> tuple[Image.Image, int | None]:
    from PIL import Image, ImageOps

    form, key = image.format, image.info.get("transparency")
    tiff = getattr(image, "tag_v2", {})
    sixteen = any(";16" in str(tile) for tile in getattr(image, "tile", []))
    if tiff.get(_SAMPLE_FORMAT) in (2, (2,)) and tiff.get(_BITS) in (8, (8,)) and np.asarray(image).max() > 127:
        raise ValueError("some of its levels are negative (signed integers)")
    image.load()
    image = ImageOps.exif_transpose(image)
    if isinstance(key, tuple) and sixteen:
        image.info["transparency"] = tuple(level >> 8 for level in key)  # as Pillow reads the levels of RGB
    white: int | None = None
    if image.mode == "F" or image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64)
        if levels.min() < 0:
            raise ValueError(f"some of its levels are negative (the lowest is {levels.min():g})")
        of_file = _stated_white(form, image.mode, tiff)
        if not of_file or levels.max() > of_file:
            of_file = white = _smallest_white(levels, image.mode == "F")
        upright = of_file - levels if tiff.get(_PHOTOMETRIC) == 0 else levels
        # Whole numbers lose their last bits, as Pillow has it for 16 bits in each of red, green and blue.
        scale = 255 / of_file if image.mode == "F" else 256 / (of_file + 1)
        grey = np.round(upright * scale) if image.mode == "F" else np.floor(upright * scale)
        if isinstance(key, int):
            grey[levels == key] = 255  # transparent parts are white
        image = Image.fromarray(grey.astype(np.uint8))
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB"), white


def _stated_white(form: str | None, mode: str, tiff: Any) -> int | None:
    """The level of white that the file states; None where it does not."""
    if form in _SCALED and mode != "F":
        return 65535
    bits = tiff.get(_BITS, (16,))
    bits = bits[0] if isinstance(bits, tuple) else bits
    if mode != "F" and bits < 16:
        return int(2**bits - 1)
    for tag in (_SMAX_SAMPLE, _MAX_SAMPLE):
        most = tiff.get(tag)
        most = most[0] if isinstance(most, tuple) else most
        # The largest level of this one image is written there, too: only a full range of bits says what white is.
        if most in (*(2**n - 1 for n in range(8, 17)), *((1,) if mode == "F" else ())):
            return int(most)
    return None


def _smallest_white(levels: np.ndarray, floating: bool) -> int:
    if not np.isfinite(levels).all():
        raise ValueError("some of its levels are NaN or infinite")
    whites = _FLOAT_WHITES if floating else _WHITES
    if levels.max() > whites[-1]:
        kind = "floating-point numbers" if floating else "numbers of 32 bits"
        raise ValueError(f"its levels are {kind} of up to {levels.max():g}; save it with 8 or 16 bits")
    return next(white for white in whites if levels.max() <= white)
