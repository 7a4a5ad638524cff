"""ResNet of both kinds of block, on pictures that are no squares and no multiples of 32.

The nets are short, because random weights make the map grow with every block, and its roundings with it.
"""

from __future__ import annotations

from tests.models.parity import Case

BASIC = {"embedding_size": 4, "hidden_sizes": [4, 6, 8], "depths": [1, 2, 1], "layer_type": "basic"}
BOTTLENECK = {"embedding_size": 8, "hidden_sizes": [16, 24, 32], "depths": [2, 1, 1], "layer_type": "bottleneck"}
IMAGE = (40, 68)

CASES = [
    Case("ResNetModel", "resnet", "features", BASIC, "pixels", "AutoModel", image=IMAGE, note="basic"),
    Case("ResNetModel", "resnet", "features", BOTTLENECK, "pixels", "AutoModel", image=IMAGE, note="bottleneck"),
    Case(
        "ResNetForImageClassification",
        "resnet",
        "class",
        BASIC,
        "pixels",
        "AutoModelForImageClassification",
        image=IMAGE,
    ),
]
