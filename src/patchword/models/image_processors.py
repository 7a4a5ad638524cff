"""The `preprocessor_config.json` of a model folder, with what each class of transformers leaves unsaid in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchword.data.image_processor import PLAIN, ImageProcessor
from patchword.errors import UserError
from patchword.models.config import ImageConfig
from patchword.models.config_file import read_json
from patchword.models.family import Family

NAME = "preprocessor_config.json"

UNSAID: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": PLAIN,
    "DeiTImageProcessor": {**PLAIN, "size": 256, "do_center_crop": True, "resample": 3},
    "BitImageProcessor": {
        **PLAIN,
        "default_to_square": False,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": (0.48145466, 0.4578275, 0.40821073),
        "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
    "ConvNextImageProcessor": {
        **PLAIN,
        "size": 384,
        "default_to_square": False,
        "resample": 3,
        "crop_pct": 224 / 256,
    },
}
"""What holds where the file says nothing, by the class that it is for."""


def read_image_processor(folder: Path, family: Family, config: ImageConfig) -> ImageProcessor:
    """How a model folder wants its pictures; where it does not say, they are resized to the config's size.

    Raises:
        UserError: it wants what is not done here.
    """
    if not (folder / NAME).is_file():
        return ImageProcessor(size=config.image_size)
    said = read_json(folder / NAME)
    named = said.get("image_processor_type") or said.get("feature_extractor_type") or family.image_processor
    kind = re.sub("(FeatureExtractor|ImageProcessor(Fast|Pil)?)$", "ImageProcessor", str(named))
    if kind not in UNSAID:
        raise UserError(f"{folder / NAME}: '{named}' is not supported; there are {', '.join(UNSAID)}.")
    try:
        return ImageProcessor.from_dict(said, UNSAID[kind])
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
