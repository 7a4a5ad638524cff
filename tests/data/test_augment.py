"""Augmented pictures: a function of key and id."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from patchword.data.augment import PRESETS, Augmentation, augmentation
from patchword.errors import UserError

IDS = np.array([3, 8, 5, 40, 11])
PIXELS = torch.randn(5, 3, 16, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_what_happens_depends_on_key_and_id_alone(name: str) -> None:
    before = torch.get_rng_state()
    change = augmentation(name)
    once = change(PIXELS, IDS, (1, 2))
    assert torch.equal(once, change(PIXELS, IDS, (1, 2)))
    assert not torch.equal(once, change(PIXELS, IDS, (1, 3)))
    order = [4, 1, 0]
    torch.testing.assert_close(change(PIXELS[order], IDS[order], (1, 2)), once[order], rtol=0, atol=1e-6)
    assert torch.equal(before, torch.get_rng_state())


def test_none_changes_nothing_and_no_preset_mirrors() -> None:
    assert PRESETS["none"](PIXELS, IDS, (1, 2)) is PIXELS
    assert not any(preset.flip for preset in PRESETS.values())


def test_a_flip_alone_is_the_mirror_image() -> None:
    torch.testing.assert_close(Augmentation(flip=1.0)(PIXELS, IDS, (0, 0)), PIXELS.flip(3), rtol=0, atol=1e-5)


def test_mixed_targets_remain_chances_and_follow_the_pixels() -> None:
    targets = torch.eye(5)
    pixels, soft = Augmentation(mixup=0.4).mix(PIXELS, targets, IDS, (1, 2))
    torch.testing.assert_close(soft.sum(1), torch.ones(5))
    torch.testing.assert_close(pixels, torch.einsum("nk,kchw->nchw", soft, PIXELS))


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UserError, match="light"):
        augmentation("lihgt")
