"""Positions against plain look-ups and against transformers."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, T5Config, ViTConfig, ViTModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from patchword.nn.packing import Layout
from patchword.nn.positions import GridSinCos, LearnedPositions, RelativeBias, Rotary, Scaling, resize_grid_positions


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


def test_fixed_positions_are_those_of_transformers() -> None:
    # A new ViTMAEModel of transformers 5 has zeros there; the function is right. Files have the column first.
    expected = build_2d_sinusoidal_position_embedding(5, 5, 32, cls_token=True).roll(16, dims=1)
    assert (GridSinCos((5, 5), 32).weight - expected).abs().max() <= 1e-6
    wide = GridSinCos((2, 3), 32).weight[1:].view(2, 3, 32)  # of a grid that is no square: the corner of a larger one
    assert torch.equal(wide, GridSinCos((5, 5), 32).weight[1:].view(5, 5, 32)[:2, :3])


def test_the_same_grid_is_left_as_it_is() -> None:
    positions = torch.randn(1 + 9, 4)
    assert torch.equal(resize_grid_positions(positions, (3, 3)), positions)


def test_the_class_token_keeps_its_position() -> None:
    positions = torch.randn(1 + 9, 4)
    assert torch.equal(resize_grid_positions(positions, (5, 2))[0], positions[0])


def test_patches_that_form_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="8 patch positions"):
        resize_grid_positions(torch.randn(1 + 8, 4), (3, 3))


ROPES = {
    "plain": (None, {"rope_type": "default", "rope_theta": 5000.0}),
    "linear": (Scaling(4.0), {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}),
    "llama3": (
        Scaling(8.0, 32, 1.0, 4.0),
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
            "rope_theta": 5000.0,
        },
    ),
}


@pytest.mark.parametrize("kind", ROPES)
def test_rotations_are_those_of_transformers(kind: str) -> None:
    scaling, theirs = ROPES[kind]
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=256, rope_parameters=theirs)
    query = torch.randn(1, 4, 200, 16)
    cos, sin = LlamaRotaryEmbedding(config)(query, torch.arange(200)[None])
    expected, _ = apply_rotary_pos_emb(query, query, cos, sin)
    ours = Rotary(16, 5000.0, scaling)(query[0].transpose(0, 1), Layout([200]))
    # An angle of 200 radians has an error of 200 x 2^-24 in fp32 however it is computed.
    assert (ours.transpose(0, 1) - expected[0]).abs().max() <= 1e-4


def test_products_of_turned_vectors_depend_on_the_distance_alone() -> None:
    turn = Rotary(16)
    one, other = torch.randn(2, 1, 1, 16)
    products = [
        (turn(one, Layout([1], before=[at])) * turn(other, Layout([1], before=[at + 5]))).sum() for at in (0, 7, 50)
    ]
    assert max(products) - min(products) <= 1e-4


@pytest.mark.parametrize("both_ways", [True, False])
def test_relative_biases_are_those_of_transformers(both_ways: bool) -> None:
    theirs = T5Attention(T5Config(num_heads=3, d_model=12, is_decoder=not both_ways), True, 0)
    ours = RelativeBias(3, both_ways=both_ways)
    ours.table.weight.data.copy_(theirs.relative_attention_bias.weight)
    expected = theirs.compute_bias(300, 300)[0]
    assert torch.equal(ours(Layout([300, 7])), expected)
    # The rows of single new tokens are rows of the whole.
    rows = ours.rows(Layout([1, 1, 1], before=[0, 150, 299]), 300)
    assert torch.equal(rows, expected[:, [0, 150, 299]].transpose(0, 1))


def test_an_odd_head_has_no_pairs_to_turn() -> None:
    with pytest.raises(ValueError, match="must be even"):
        Rotary(7)
