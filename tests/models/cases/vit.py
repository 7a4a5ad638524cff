"""ViT, on pictures that are no squares."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": [16, 24],
    "patch_size": 4,
}

CASES = [
    Case("ViTModel", "vit", "features", SIZES, "pixels", "AutoModel", image=(16, 24)),
    Case(
        "ViTForImageClassification", "vit", "class", SIZES, "pixels", "AutoModelForImageClassification", image=(16, 24)
    ),
]
