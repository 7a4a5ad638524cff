"""What the demo made and found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patchword.demo import images
from patchword.demo.corpus import TextData
from patchword.demo.digits import DigitData
from patchword.study.labels import LabelCurve


@dataclass
class DemoResult:
    """What the demo made and found.

    Args:
        folder: of all of it.
        data, digits: what was learnt from.
        base: report of the 45 seconds of pretraining, with the model's number of parameters.
        text: accuracy over labels by method.
        finetuned: which test rows the fine-tuned models are right in, by start.
        labelled: the file that they learnt from.
        digits_base: scores of the ViT on the held back pictures of 0 to 4.
        pictures: accuracy over labels by start.
        maps: where the ViT looked.
        seconds: of each part.
    """

    folder: Path
    data: TextData
    digits: DigitData
    base: dict[str, Any] = field(default_factory=dict)
    text: dict[str, LabelCurve] = field(default_factory=dict)
    finetuned: dict[str, np.ndarray] = field(default_factory=dict)
    labelled: Path = Path()
    digits_base: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, LabelCurve] = field(default_factory=dict)
    maps: images.Maps | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.folder / "index.html"
