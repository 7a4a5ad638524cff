"""Decoded images -> pixels of one size, as `preprocessor_config.json` says: resize, crop, rescale, normalise.

Dims: n images, h height, w width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from patchword.errors import UserError
from patchword.models.config_file import is_number, shown

if TYPE_CHECKING:
    from PIL import Image

LARGEST_SIDE = 4096
"""Pixels of a side that can be asked for: a larger image is more tokens than a model here can attend over."""

Triple = tuple[float, float, float]

PLAIN: Mapping[str, Any] = {
    "do_resize": True,
    "size": 224,
    "default_to_square": True,
    "resample": 2,
    "do_center_crop": False,
    "crop_size": 224,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": 0.5,
    "image_std": 0.5,
}
"""What holds where a `preprocessor_config.json` says nothing; some kinds of it differ."""

_WITHOUT_EFFECT = {  # on the pixels: names, and how a batch of them is handed over
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "_valid_processor_keys",
    "do_convert_rgb",
    "pad_size",
    "data_format",
    "input_data_format",
    "return_tensors",
    "device",
    "disable_grouping",
}
_SQUEEZED = 384  # pixels; with `crop_pct`, pictures of this size and larger lose nothing


@dataclass(frozen=True)
class ImageProcessor:
    """What `preprocessor_config.json` says, as transformers does it with PIL.

    Attributes:
        size: (height, width) of the result.
        resample: the PIL code of the filter (0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming).
        mean, std: of the red, green and blue channel, after rescaling.
        resized: what an image is resized to before the centre of `size` is cut out of it: (height, width), or the
            length of its shorter side. None: it is resized to `size`, and nothing is cut away.
    """

    size: tuple[int, int] = (224, 224)
    resample: int = 2
    rescale_factor: float = 1 / 255
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    do_resize: bool = True
    do_rescale: bool = True
    do_normalize: bool = True
    resized: tuple[int, int] | int | None = None

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], unsaid: Mapping[str, Any] = PLAIN) -> ImageProcessor:
        """Of the keys of a `preprocessor_config.json`, those of transformers 4 included.

        Args:
            d: the keys; null says nothing.
            unsaid: what holds for keys that are not there. With "crop_pct" among them, `size` is of the result, which
                is cut out of an image whose shorter side is so much larger (1 / crop_pct).

        Raises:
            UserError: a step is asked for that is not done here, for its results would differ silently.
        """
        for key, value in d.items():
            if key not in unsaid.keys() | _WITHOUT_EFFECT and value not in (None, False):
                raise UserError(f"preprocessor_config.json: {key} is set ({shown(value)}), which is not supported.")
        said = {**unsaid, **{key: value for key, value in d.items() if value is not None}}
        for key in ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "default_to_square"):
            if not isinstance(said.get(key, False), bool):
                raise UserError(
                    f"preprocessor_config.json: {key} is {shown(said[key])}, where true or false is needed."
                )
        if isinstance(said["resample"], bool | float) or said["resample"] not in range(6):
            raise UserError(
                f"preprocessor_config.json: resample is {shown(said['resample'])}, not a PIL filter (0 to 5)."
            )
        size, resized = _sizes(said)
        processor = cls(
            size=size,
            resized=resized,
            resample=int(said["resample"]),
            rescale_factor=_number("rescale_factor", said["rescale_factor"]),
            mean=_numbers("image_mean", said["image_mean"]),
            std=_numbers("image_std", said["image_std"]),
            **{key: said[key] for key in ("do_resize", "do_rescale", "do_normalize")},
        )
        if min(processor.std) <= 0:
            raise UserError(
                f"preprocessor_config.json: image_std is {shown(said['image_std'])}, where numbers above 0 are needed."
            )
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            levels = processor._levels
        if not np.isfinite(levels).all():
            raise UserError(
                "preprocessor_config.json: with this rescale_factor, image_mean and image_std the values of an image "
                "are not finite in fp32."
            )
        return processor

    def to_dict(self) -> dict[str, Any]:
        """The `preprocessor_config.json` of the simplest class of transformers that does the same."""
        cropped = self.resized is not None
        return {
            "image_processor_type": "BitImageProcessor" if cropped else "ViTImageProcessor",
            "do_resize": self.do_resize,
            "size": _size_dict(self.size if self.resized is None else self.resized),
            "resample": self.resample,
            **({"do_center_crop": True, "crop_size": _size_dict(self.size)} if cropped else {}),
            "do_rescale": self.do_rescale,
            "rescale_factor": self.rescale_factor,
            "do_normalize": self.do_normalize,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    @property
    def told(self) -> str:
        """What becomes of a picture, in words."""
        width_first = f"{self.size[1]} x {self.size[0]}"
        if self.resized is None:
            return f"resized to {width_first}" if self.do_resize else f"{width_first} as they are"
        middle = f"the middle of {width_first}"
        if not self.do_resize:
            return middle
        if isinstance(self.resized, int):
            return f"resized to {self.resized} on the shorter side, {middle}"
        return f"resized to {self.resized[1]} x {self.resized[0]}, {middle}"

    def at(self, size: tuple[int, int]) -> ImageProcessor:
        """The same with a result of another size, for which the same share of an image is cut away."""
        scales = [now / was for now, was in zip(size, self.size, strict=True)]
        resized = self.resized
        if isinstance(resized, int):
            resized = round(resized * max(scales))
        elif resized is not None:
            resized = round(resized[0] * scales[0]), round(resized[1] * scales[1])
        return replace(self, size=size, resized=resized)

    def fit(self, image: Image.Image) -> np.ndarray:
        """An RGB image -> uint8 [h, w, 3]: resized, and its centre cut out; what a crop lacks at the edges is black.

        Raises:
            UserError: it has another size and is neither resized nor cropped, or is too long for its width.
        """
        from PIL import Image

        height, width = self.size
        if self.do_resize:
            image = image.resize(self._target(image), Image.Resampling(self.resample))
        if self.resized is not None:
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        elif image.size != (width, height):
            raise UserError(
                f"the image has {image.width} x {image.height} pixels, the model has {width} x {height}, and "
                "do_resize is off in preprocessor_config.json"
            )
        return np.asarray(image)

    def _target(self, image: Image.Image) -> tuple[int, int]:
        """(width, height), PIL's order, that an image is resized to."""
        from PIL import Image

        resized = self.size if self.resized is None else self.resized
        if not isinstance(resized, int):
            return resized[1], resized[0]
        short, long = sorted(image.size)
        longer = int(resized * long / short)  # rounded down, as transformers does
        if resized * longer > (Image.MAX_IMAGE_PIXELS or np.inf):
            raise UserError(
                f"the image has {image.width} x {image.height} pixels, which is too long to be resized to {resized} "
                "on the shorter side; cut it"
            )
        return (resized, longer) if image.width <= image.height else (longer, resized)

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, 3] -> float32 [n, 3, h, w]."""
        normalised = np.empty((len(pixels), 3, *pixels.shape[1:3]), np.float32)
        for channel, levels in enumerate(self._levels):
            np.take(levels, pixels[..., channel], out=normalised[:, channel])
        return normalised

    def normalise_shares(self, shares: np.ndarray) -> np.ndarray:
        """float32 [n, 3, h, w], shares of the highest level (0 to 1) -> float32 of that shape."""
        low, high = (self._levels[:, level, None, None] for level in (0, 255))
        normalised: np.ndarray = low + shares * (high - low)
        return normalised

    @cached_property
    def _levels(self) -> np.ndarray:
        """What each of the 256 levels becomes: float32 [3, 256], rounded where transformers rounds."""
        levels = np.arange(256, dtype=np.float64)
        levels = (levels * self.rescale_factor if self.do_rescale else levels).astype(np.float32)
        mean, std = (np.array(x, np.float32)[:, None] for x in (self.mean, self.std))
        return (levels - mean) / std if self.do_normalize else np.tile(levels, (3, 1))


def _number(key: str, value: Any) -> float:
    if not is_number(value):
        raise UserError(f"preprocessor_config.json: {key} is {shown(value)}, where a finite number is needed.")
    return float(value)


def _numbers(key: str, value: Any) -> Triple:
    values = [value] * 3 if is_number(value) else value
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(is_number, values)):
        raise UserError(
            f"preprocessor_config.json: {key} is {shown(value)}, where a finite number for each of 3 "
            "channels is needed."
        )
    red, green, blue = map(float, values)
    return red, green, blue


def _sizes(said: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int] | int | None]:
    """`ImageProcessor.size` and `.resized`."""
    asked = _size("size", said["size"], said["default_to_square"])
    if "crop_pct" in said:
        share = said["crop_pct"]
        if said.get("do_center_crop"):
            raise UserError("preprocessor_config.json: do_center_crop and crop_pct are set; only one is supported.")
        if not isinstance(asked, int) or not is_number(share) or not asked / LARGEST_SIDE <= share:
            raise UserError(
                f"preprocessor_config.json: size {shown(said['size'])} with crop_pct {shown(share)} is not supported; "
                "it must be that of the shortest_edge, with a number above 0 that leaves images of at most "
                f"{LARGEST_SIDE:,} pixels a side."
            )
        cropped = said["do_resize"] and asked < _SQUEEZED
        return (asked, asked), int(asked / share) if cropped else None
    if said["do_center_crop"]:
        crop = _size("crop_size", said["crop_size"], square=True)
        if not isinstance(crop, int):
            return crop, asked
        raise UserError(f"preprocessor_config.json: crop_size {shown(said['crop_size'])} must have height and width.")
    if isinstance(asked, int):
        raise UserError(
            f"preprocessor_config.json: size {shown(said['size'])} leaves pictures as long as they are, and "
            "do_center_crop is off, but a model here reads pictures of one size. Give it height and width, or a "
            "crop_size."
        )
    return asked, None


def _size(key: str, size: Any, square: bool) -> tuple[int, int] | int:
    """(height, width), or the length of the shorter side."""
    sides: list[Any] = []
    if isinstance(size, dict):
        sides = [size.get(name) for name in ("height", "width", "shortest_edge") if name in size]
        if size.keys() not in ({"height", "width"}, {"shortest_edge"}):
            sides = []
    elif isinstance(size, int):
        sides = [size, size] if square else [size]
    elif isinstance(size, tuple | list) and len(size) == 2:
        sides = list(size)
    if not sides or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
        raise UserError(
            f"preprocessor_config.json: {key} {shown(size)} is not supported; it must have height and width, or the "
            f"shortest_edge, of 1 to {LARGEST_SIDE:,} pixels."
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _size_dict(size: tuple[int, int] | int) -> dict[str, int]:
    return {"shortest_edge": size} if isinstance(size, int) else {"height": size[0], "width": size[1]}
