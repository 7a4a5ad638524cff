"""Convolutional networks: what their parts compute, by closed forms and properties."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector

from patchword.models.family import Model, families
from patchword.nn.convnet import ConvNet, StandardisedConv2d, basic_block, initialise_convolutions

SIZES = {"stem_width": 32, "widths": (128, 128), "width": 128, "depths": (2, 1), "image_size": (24, 24)}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def network(family: str) -> Model:
    kind = families()[family]
    return Model(kind, kind.config(**SIZES), "class", ("a", "b"))


def test_standardised_filters_have_mean_0_and_variance_1() -> None:
    layer = StandardisedConv2d(3, 5, 3, padding=1)
    weight = layer.weight.detach()
    mean, variance = weight.mean((1, 2, 3), True), weight.var((1, 2, 3), correction=0, keepdim=True)
    pixels = torch.randn(2, 3, 7, 6)
    expected = F.conv2d(pixels, (weight - mean) / (variance + layer.epsilon).sqrt(), padding=1)
    assert (layer(pixels) - expected).abs().max() <= 1e-5
    assert (layer(pixels) - _scaled(layer, 7.0)(pixels)).abs().max() <= 1e-4  # the scale of a filter is nothing


def _scaled(layer: StandardisedConv2d, by: float) -> StandardisedConv2d:
    with torch.no_grad():
        layer.weight.mul_(by)
    return layer


@pytest.mark.parametrize("family", ["resnet", "bit"])
def test_in_use_a_picture_does_not_depend_on_its_neighbours(family: str) -> None:
    model, pixels = network(family).eval(), torch.randn(4, 3, 24, 24)
    with torch.no_grad():
        together, alone = model(pixels), torch.cat([model(picture[None]) for picture in pixels])
    assert (together - alone).abs().max() <= 1e-5


def test_while_learning_bit_does_not_depend_on_the_batch_and_resnet_does() -> None:
    pixels = torch.randn(4, 3, 24, 24)
    differences = {}
    for family in ("resnet", "bit"):
        model = network(family).train()
        with torch.no_grad():
            differences[family] = (model(pixels)[:1] - model(pixels[:1])).abs().max()
    assert differences["bit"] <= 1e-5 < differences["resnet"]


def test_the_order_of_channels_changes_no_number_and_gradients_lie_as_their_weights() -> None:
    """The fused optimizer on a CPU reads a weight and its gradient in the order of their memory."""
    trunk, pixels = network("resnet").trunk.train(), torch.randn(4, 3, 24, 24)
    values, gradients = [], []
    for forward in (trunk.forward, partial(ConvNet.forward, trunk)):
        trunk.zero_grad()
        out = forward(pixels).values
        out.square().mean().backward()
        values.append(out)
        gradients.append(parameters_to_vector(parameter.grad for parameter in trunk.parameters()))
        assert all(parameter.grad.is_contiguous() for parameter in trunk.parameters())
    # Sums of up to 9 x 128 products in another order.
    assert (values[0] - values[1]).abs().max() <= 1e-4
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-4 * gradients[1].abs().max()


def test_batch_norm_keeps_its_statistics_among_the_tensors() -> None:
    model = network("resnet").train()
    before = {name: tensor.clone() for name, tensor in model.tensors().items() if "running" in name}
    model(torch.randn(4, 3, 24, 24))
    assert before
    assert all(not torch.equal(tensor, model.tensors()[name]) for name, tensor in before.items())


def test_new_convolutions_have_he_s_deviation() -> None:
    block = basic_block(64, 128, 2, "relu")
    initialise_convolutions(block)
    weight = block.path[0].convolution.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
