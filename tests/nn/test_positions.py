"""Learned positions against a plain look-up; resized ones against transformers' own ViT."""

from __future__ import annotations

import pytest
import torch
from transformers import ViTConfig, ViTModel

from patchword.nn.packing import Layout
from patchword.nn.positions import LearnedPositions, resize_grid_positions


def test_every_sequence_begins_at_position_0() -> None:
    positions = LearnedPositions(6, 4)
    torch.nn.init.normal_(positions.weight)
    added = positions(Layout([3, 1, 6]))
    assert torch.equal(added, positions.weight[[0, 1, 2, 0, 0, 1, 2, 3, 4, 5]])


def test_a_sequence_longer_than_the_positions_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"7 tokens.* 6 positions"):
        LearnedPositions(6, 4)(Layout([2, 7]))


@pytest.mark.parametrize("size", [(2, 2), (6, 6), (7, 7), (8, 4), (3, 9)])
def test_resized_positions_are_those_of_transformers(size: tuple[int, int]) -> None:
    patch, width, side = 4, 32, 5
    config = ViTConfig(hidden_size=width, num_hidden_layers=1, num_attention_heads=2)
    config.image_size, config.patch_size = side * patch, patch
    model = ViTModel(config)
    positions = model.embeddings.position_embeddings
    torch.nn.init.normal_(positions)
    tokens = torch.zeros(1, 1 + size[0] * size[1], width)
    expected = model.embeddings.interpolate_pos_encoding(tokens, size[0] * patch, size[1] * patch)[0]
    resized = resize_grid_positions(positions[0], size)
    assert resized.shape == (1 + size[0] * size[1], width)
    assert (resized - expected).abs().max() <= 1e-5


def test_the_same_grid_is_left_as_it_is() -> None:
    positions = torch.randn(1 + 9, 4)
    assert torch.equal(resize_grid_positions(positions, (3, 3)), positions)


def test_the_class_token_keeps_its_position() -> None:
    positions = torch.randn(1 + 9, 4)
    assert torch.equal(resize_grid_positions(positions, (5, 2))[0], positions[0])


def test_patches_that_form_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="8 patch positions"):
        resize_grid_positions(torch.randn(1 + 8, 4), (3, 3))
