"""DeiT, on pictures that are no squares."""

from __future__ import annotations

from tests.models.cases.vit import SIZES
from tests.models.parity import Case

IMAGE = (16, 24)

CASES = [
    Case("DeiTModel", "deit", "features", SIZES, "pixels", "AutoModel", image=IMAGE),
    Case(
        "DeiTForImageClassification", "deit", "class", SIZES, "pixels", "AutoModelForImageClassification", image=IMAGE
    ),
    Case("DeiTForImageClassificationWithTeacher", "deit", "class_distilled", SIZES, "pixels", image=IMAGE),
]
