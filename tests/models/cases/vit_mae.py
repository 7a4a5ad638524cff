"""Masked autoencoders: the vectors of the patches that are seen, and the reconstruction and its loss.

transformers cuts squares only.
"""

from __future__ import annotations

from tests.models.parity import Case

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 4,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 24,
}

CASES = [
    Case("ViTMAEModel", "vit_mae", "features", SIZES, "patches", "AutoModel"),
    Case("ViTMAEForPreTraining", "vit_mae", "masked_image", SIZES, "patches", "AutoModelForPreTraining"),
    Case(
        "ViTMAEForPreTraining",
        "vit_mae",
        "masked_image",
        SIZES | {"norm_pix_loss": True},
        "patches",
        "AutoModelForPreTraining",
        note="normalised",
    ),
]
