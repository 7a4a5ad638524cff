"""Augmented pictures: a function of key and id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from patchword.data.augment import PRESETS, Augmentation, augmentation
from patchword.errors import UserError

IDS = np.array([3, 8, 5, 40, 11])
PIXELS = torch.rand(5, 3, 16, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["light", "standard", "strong", "flip", "randaugment+flip"])
def test_what_happens_depends_on_key_and_id_alone(name: str) -> None:
    before = torch.get_rng_state()
    change = augmentation(name)
    once = change(PIXELS, IDS, (1, 2))
    assert torch.equal(once, change(PIXELS, IDS, (1, 2)))
    assert not torch.equal(once, change(PIXELS, IDS, (1, 3)))
    order = [4, 1, 0]
    torch.testing.assert_close(change(PIXELS[order], IDS[order], (1, 2)), once[order], rtol=0, atol=1e-6)
    assert torch.equal(before, torch.get_rng_state())
    assert once.shape == PIXELS.shape
    assert once.min() >= 0
    assert once.max() <= 1


def test_none_changes_nothing_and_nothing_mirrors_that_does_not_say_so() -> None:
    assert PRESETS["none"](PIXELS, IDS, (1, 2)) is PIXELS
    assert [name for name, preset in PRESETS.items() if preset.flip] == ["flip"]


def test_names_are_joined() -> None:
    assert augmentation("none+flip") == PRESETS["flip"]
    assert augmentation("standard+flip+cutmix") == replace(PRESETS["standard"], flip=0.5, cutmix=1.0)


def test_brightness_is_a_factor_and_an_erased_rectangle_has_the_mean_colour() -> None:
    flat = torch.full((5, 3, 8, 8), 0.4)
    brighter = Augmentation(light=0.3)(flat, IDS, (0, 0))
    assert (brighter - brighter[:, :1, :1, :1]).abs().max() < 1e-6, "a picture of one colour has no contrast"
    assert ((brighter / flat - 1).abs() <= 0.3 + 1e-6).all()
    erased = Augmentation(erase=1.0)(PIXELS, IDS, (0, 0))
    means = PIXELS.mean((2, 3), keepdim=True).expand_as(PIXELS)
    changed = (erased != PIXELS).any(1)
    torch.testing.assert_close(erased.movedim(1, 3)[changed], means.movedim(1, 3)[changed])
    assert (changed.float().mean((1, 2)) < 0.45).all()
    assert changed.any(2).any(1).all()


def test_a_flip_alone_is_the_mirror_image() -> None:
    torch.testing.assert_close(Augmentation(flip=1.0)(PIXELS, IDS, (0, 0)), PIXELS.flip(3), rtol=0, atol=1e-5)


def test_mixed_targets_remain_chances_and_follow_the_pixels() -> None:
    targets = torch.eye(5)
    pixels, soft = Augmentation(mixup=0.4).mix(PIXELS, targets, IDS, (1, 2))
    torch.testing.assert_close(soft.sum(1), torch.ones(5))
    torch.testing.assert_close(pixels, torch.einsum("nk,kchw->nchw", soft, PIXELS))


@pytest.mark.parametrize("epoch", range(8))
def test_of_two_pictures_by_cutmix_the_targets_have_the_shares_of_the_area(epoch: int) -> None:
    numbered = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 16, 12)
    pixels, soft = Augmentation(cutmix=1.0).mix(numbered, torch.eye(5), IDS, (1, epoch))
    shares = torch.stack([(pixels[:, 0] == k).float().mean((1, 2)) for k in range(5)], 1)
    torch.testing.assert_close(soft, shares)
    assert set(pixels[1].unique().tolist()) <= {0.0, 1.0}, "its own pixels, and those of the one before it"


def test_where_both_are_asked_for_a_batch_is_mixed_in_one_way_or_the_other() -> None:
    numbered = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 16, 12)
    both = Augmentation(mixup=1.0, cutmix=1.0)
    blended = [both.mix(numbered, torch.eye(5), IDS, (1, epoch))[0].frac().any().item() for epoch in range(30)]
    assert 5 < sum(blended) < 25


@pytest.mark.parametrize("width", [1, 3])
def test_few_pictures_are_mixed_with_what_there_is(width: int) -> None:
    pixels, soft = augmentation("strong").mix(PIXELS[:width], torch.eye(5)[:width], IDS[:width], (0, 0))
    assert pixels.shape == PIXELS[:width].shape
    torch.testing.assert_close(soft.sum(1), torch.ones(width))


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UserError, match="light"):
        augmentation("lihgt")
