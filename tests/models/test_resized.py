"""Pictures of another size than the positions were learnt for: each family's own rule, against transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchword.models.folder import read_model
from tests.models.cases import dinov2_with_registers, vit
from tests.models.parity import TOLERANCE, Case

CASES = {
    "vit": (Case("ViTModel", "vit", "features", {**vit.SIZES, "image_size": 16}), {"interpolate_pos_encoding": True}),
    "dinov2_with_registers": (dinov2_with_registers.CASES[0], {}),
}


@pytest.mark.parametrize("size", [(24, 24), (8, 8), (12, 20)])
@pytest.mark.parametrize("family", CASES)
def test_positions_are_resized_as_transformers_does(family: str, size: tuple[int, int], tmp_path: Path) -> None:
    case, more = CASES[family]
    theirs = case.model()
    theirs.save_pretrained(tmp_path)
    ours = read_model(tmp_path, image_size=size).model.eval()
    pixels = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, **more).last_hidden_state.flatten(0, 1)
        assert (ours.features(pixels).values - expected).abs().max() <= TOLERANCE
