"""BiT, on pictures that are no squares and no multiples of 32."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {"embedding_size": 8, "hidden_sizes": [32, 64, 96], "depths": [2, 1, 2], "num_groups": 4}
IMAGE = (40, 68)

CASES = [
    Case("BitModel", "bit", "features", SIZES, "pixels", "AutoModel", image=IMAGE),
    Case("BitForImageClassification", "bit", "class", SIZES, "pixels", "AutoModelForImageClassification", image=IMAGE),
]
