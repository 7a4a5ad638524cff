"""Sizes that come again: near what is asked for, few of them, and nothing that is added can be seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from patchword.models.family import Model, preset
from patchword.nn.packing import Layout, Packed
from patchword.nn.sizes import missing, usual
from patchword.nn.transformer import Transformer

BF16 = torch.autocast("cpu", dtype=torch.bfloat16)
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


class Products(TorchDispatchMode):
    """Notes the sizes of all products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[tuple[int, ...], ...]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in PRODUCTS:
            self.sizes.add(tuple(tuple(arg.shape) for arg in args if torch.is_tensor(arg)))
        return function(*args, **(kwargs or {}))


def batch(lengths: list[int]) -> Packed:
    generator = torch.Generator().manual_seed(sum(lengths))
    return Packed(torch.randint(5, 90, (sum(lengths),), generator=generator), Layout(lengths))


def model(name: str = "patchword-tiny", way_out: str = "masked_token") -> Model:
    torch.manual_seed(0)
    family, config = preset(name)
    return Model(family, config.model_copy(update={"vocab_size": 90, "init_std": 0.1}), way_out)


@given(st.integers(1, 10**9))
def test_a_usual_size_is_the_next_and_near(count: int) -> None:
    found = usual(count)
    assert count <= found <= count * 17 / 16
    assert usual(found) == found


def test_there_are_16_in_an_octave() -> None:
    assert len({usual(count) for count in range(1025, 2049)}) == 16


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 100))
def test_what_is_added_is_no_longer_than_the_longest(lengths: list[int], tokens: int) -> None:
    layout = Layout(lengths)
    filled = layout.filled(tokens)
    assert filled.lengths[: len(lengths)] == layout.lengths
    assert filled.tokens == layout.tokens + tokens
    assert filled.longest == layout.longest


@pytest.mark.parametrize("name", ["patchword-tiny", "bert-tiny", "gpt2-tiny", "llama-tiny", "t5-mini"])
def test_nobody_sees_what_is_added(name: str) -> None:
    """Vectors and gradients with it and without, in bf16: rounded to 8 bits at other places of a sum."""
    tested = model(name, "features").eval()
    words = batch([90, 90, 57, 20])
    assert missing(words.values) == 0

    def vectors() -> tuple[torch.Tensor, torch.Tensor]:
        with BF16:
            read = tested.read(words).values.float()
        gradient = torch.autograd.grad(read.square().mean(), next(iter(tested.parameters())), allow_unused=True)[0]
        return read.detach(), gradient

    with BF16:
        assert missing(words.values) == 15
    filled = vectors()
    for part in tested.modules():
        if isinstance(part, Transformer):
            assert part.missing is missing
            part.missing = lambda _: 0
    for with_it, without in zip(filled, vectors(), strict=True):
        assert with_it.shape == without.shape
        assert (with_it - without).norm() <= 2**-7 * without.norm()


def test_batches_of_about_one_size_need_one_set_of_products() -> None:
    """Whose number is that of the model's own matrices, however many batches come."""
    tested = model()

    def sizes(lengths: list[list[int]]) -> set[tuple[tuple[int, ...], ...]]:
        with Products() as products:
            for of_batch in lengths:
                words = batch(of_batch)
                chosen = torch.arange(0, words.layout.tokens, 7)
                with BF16:
                    hidden = tested.features(words).values[chosen]
                    tested.head.loss(hidden, words.values[chosen]).backward()
        return products.sizes

    one = sizes([[60, 60, 60, 60, 8]])
    assert sizes([[60, 60, 60, 60 - k, 8] for k in range(7)]) == one
    assert len(one) > 10
