"""The same weights under both masks: what changes, and what docs/two-masks.md says about it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchword.models.family import Model, families
from patchword.nn.attention import BIDIRECTIONAL, CAUSAL, Mask, SelfAttention
from patchword.nn.block import Block, Order, post_norm, pre_norm
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Packed
from patchword.nn.transformer import Transformer

PAGE = Path("docs/two-masks.md")
WIDTH, LENGTHS, TOLERANCE = 32, (7, 4, 1), 1e-5


def stack(depth: int, order: Order, mask: Mask) -> Transformer:
    """The same weights for every mask."""
    torch.manual_seed(depth)
    return Transformer(
        depth,
        lambda layer: Block(
            attention=SelfAttention(WIDTH, 4, mask=mask),
            feedforward=FeedForward(WIDTH, 2 * WIDTH),
            norm=partial(nn.LayerNorm, WIDTH),
            order=order,
        ),
    )


def texts() -> Packed:
    torch.manual_seed(0)
    return Packed.from_sequences([2 * torch.randn(length, WIDTH) for length in LENGTHS])


def rows_that_differ(one: Packed, other: Packed) -> list[list[int]]:
    """Of each sequence."""
    pairs = zip(one.sequences(), other.sequences(), strict=True)
    return [((a - b).abs().amax(1) > TOLERANCE).nonzero().flatten().tolist() for a, b in pairs]


def under_both(depth: int, order: Order) -> tuple[Packed, Packed]:
    both, causal = (stack(depth, order, mask)(texts()) for mask in (BIDIRECTIONAL, CAUSAL))
    return both, causal


every_order = pytest.mark.parametrize("order", [pre_norm, post_norm])


@every_order
def test_one_layer_differs_for_all_tokens_but_the_last(order: Order) -> None:
    assert rows_that_differ(*under_both(1, order)) == [list(range(length - 1)) for length in LENGTHS]


@every_order
def test_more_layers_differ_for_the_last_too_where_there_are_others(order: Order) -> None:
    assert rows_that_differ(*under_both(2, order)) == [list(range(7)), list(range(4)), []]


@every_order
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("mask", "changed"), [(BIDIRECTIONAL, range(7)), (CAUSAL, range(4, 7))])
def test_a_later_token_changes_earlier_ones_in_both_directions_only(
    depth: int, order: Order, mask: Mask, changed: range
) -> None:
    given = texts()
    values: Tensor = given.values.clone()
    values[4] = torch.randn(WIDTH)
    layers = stack(depth, order, mask)
    assert rows_that_differ(layers(given), layers(Packed(values, given.layout))) == [list(changed), [], []]


def test_a_bert_is_a_gpt2_and_two_segments() -> None:
    """Their tensors by shape; the same sizes."""
    sizes: dict[str, Any] = {"depth": 3, "width": WIDTH, "heads": 4, "hidden": 96, "vocab_size": 50, "max_length": 16}
    shapes = []
    for name in ("bert", "gpt2"):
        family = families()[name]
        trunk = Model(family, family.config(**sizes), "features").trunk
        shapes.append(sorted(tuple(parameter.shape) for parameter in trunk.parameters()))
    assert shapes[0] == sorted([*shapes[1], (2, WIDTH)])


def test_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        found = re.fullmatch(r"(.*?)((?:^#[^\n]*\n)+)", block, re.M | re.S)
        assert found, "a block that prints nothing"
        code, said = found.groups()
        exec(code, names)
        printed = capsys.readouterr().out
        assert "".join(f"# {line}".rstrip() + "\n" for line in printed.splitlines()) == said
