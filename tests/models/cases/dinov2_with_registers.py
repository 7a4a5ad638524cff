"""DINOv2 with registers, with an inner width of another multiple than four."""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "image_size": 16,
    "patch_size": 4,
    "num_register_tokens": 3,
}

CASES = [
    Case("Dinov2WithRegistersModel", "dinov2_with_registers", "features", SIZES, "pixels", "AutoModel"),
    Case(
        "Dinov2WithRegistersForImageClassification",
        "dinov2_with_registers",
        "class",
        SIZES,
        "pixels",
        "AutoModelForImageClassification",
    ),
]
