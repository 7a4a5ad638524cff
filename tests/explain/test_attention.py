"""Attention weights against transformers' eager attention with the same weights, and rollout against a closed form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchword.explain.attention import attention_weights, patch_map, rollout
from patchword.models.family import Model, preset
from patchword.models.folder import read_model
from patchword.nn.attention import CAUSAL, SelfAttention
from patchword.nn.packing import Layout, Packed


def _folder_of_theirs(kind, config, folder: Path):
    """A model of theirs with random weights so large that no layer looks everywhere alike, and ours from its folder."""
    torch.manual_seed(0)
    theirs = kind(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.3)
    theirs.save_pretrained(folder)
    return kind.from_pretrained(folder, attn_implementation="eager").eval(), read_model(folder).model


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=48, image_size=12, patch_size=4
    )
    return _folder_of_theirs(transformers.ViTModel, config, tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=50
    )
    return _folder_of_theirs(transformers.BertModel, config, tmp_path_factory.mktemp("bert"))


def test_weights_of_a_vit_are_those_of_transformers(vit):
    theirs, ours = vit
    pixels = torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        expected = theirs(pixels, output_attentions=True).attentions
    weights = attention_weights(ours, pixels)
    assert len(weights) == len(expected) == 3
    for own, other in zip(weights, expected, strict=True):
        assert own.shape == (3, 10, 10)
        assert other[0].std() > 0.01
        torch.testing.assert_close(own, other[0], atol=1e-5, rtol=0)


def test_weights_of_a_bert_are_those_of_transformers(bert):
    theirs, ours = bert
    tokens = torch.randint(1, 50, (13,))
    with torch.no_grad():
        expected = theirs(tokens[None], output_attentions=True).attentions
    for own, other in zip(attention_weights(ours, Packed(tokens, Layout([13]))), expected, strict=True):
        torch.testing.assert_close(own, other[0], atol=1e-5, rtol=0)


def test_the_model_is_left_as_it_was(vit):
    _, ours = vit
    pixels = torch.randn(1, 3, 12, 12)
    ours.train()
    before = {name: p.clone() for name, p in ours.named_parameters()}
    attention_weights(ours, pixels)
    assert ours.training
    assert all(torch.equal(before[name], p) for name, p in ours.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in ours.modules())
    ours.eval()


def test_hooks_go_away_when_the_model_fails(vit):
    _, ours = vit
    with pytest.raises(ValueError, match="pixels"):
        attention_weights(ours, torch.randn(1, 3, 16, 16))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in ours.modules())


def test_several_inputs_at_once_are_refused(vit):
    with pytest.raises(ValueError, match="one input at a time, not for 2"):
        attention_weights(vit[1], torch.randn(2, 3, 12, 12))


def test_causal_weights_never_look_ahead():
    torch.manual_seed(0)
    layer = SelfAttention(16, 2, mask=CAUSAL)
    hidden_states = torch.randn(6, 16)
    (weights,) = attention_weights(layer, hidden_states, Layout([6]))
    assert torch.equal(weights.triu(1), torch.zeros(2, 6, 6))
    # They are what the layer itself used.
    value = layer.qkv(hidden_states).view(6, 3, 2, 8)[:, 2].transpose(0, 1)
    expected = layer.out((weights @ value).transpose(0, 1).reshape(6, 16))
    torch.testing.assert_close(layer(hidden_states, Layout([6])), expected, atol=1e-5, rtol=0)


def test_rollout_of_uniform_and_of_identical_attention():
    tokens, layers = 5, 4
    same = [torch.eye(tokens).expand(2, tokens, tokens)] * layers
    torch.testing.assert_close(rollout(same), torch.eye(tokens))
    # (J/n + I)/2 to the power L has its own share 2^-L on the diagonal and the rest spread evenly.
    uniform = [torch.full((2, tokens, tokens), 1 / tokens)] * layers
    own = 0.5**layers
    expected = own * torch.eye(tokens) + (1 - own) / tokens
    torch.testing.assert_close(rollout(uniform), expected)


def test_rollout_goes_from_the_last_layer_back_to_the_first():
    # Layer 1: token 1 reads token 2. Layer 2: token 0 reads token 1. So token 0 has a quarter of token 2, and
    # token 2 has nothing of the others.
    first, second = torch.eye(3), torch.eye(3)
    first[1], second[0] = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0])
    total = rollout([first[None], second[None]])
    torch.testing.assert_close(total[0], torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(total[2], torch.tensor([0.0, 0.0, 1.0]))


def test_patch_map_has_the_grid_of_the_picture(vit):
    picture = torch.randn(3, 12, 12)
    shares = patch_map(vit[1], picture)
    assert shares.shape == (3, 3)
    assert shares.sum().item() == pytest.approx(1.0)
    expected = rollout(attention_weights(vit[1], picture[None]))[0, 1:]
    torch.testing.assert_close(shares.flatten(), expected / expected.sum())


def test_patch_map_needs_a_model_of_images():
    family, config = preset("bert-tiny")
    with pytest.raises(ValueError, match="no patches"):
        patch_map(Model(family, config, "features"), torch.zeros(3, 8, 8))
