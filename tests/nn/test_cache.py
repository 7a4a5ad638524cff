"""A token read after others gives what it gives when all are read at once."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from patchword.nn.attention import CrossAttention, Mask, SelfAttention
from patchword.nn.block import DecoderBlock, pre_norm
from patchword.nn.cache import Cache, KeyValues
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Layout, Packed
from patchword.nn.positions import RelativeBias, Rotary
from patchword.nn.transformer import Transformer, initialise

WIDTH, HEADS = 32, 4
VARIANTS = {
    "plain": lambda: {"mask": Mask(True)},
    "rotary, shared keys": lambda: {"mask": Mask(True), "positions": Rotary(8), "kv_heads": 2},
    "window": lambda: {"mask": Mask(True, 2), "positions": Rotary(8), "kv_heads": 1},
    "relative": lambda: {"mask": Mask(True), "relative": RelativeBias(HEADS, both_ways=False), "scale": 1.0},
}


def decoder(variant: str) -> Transformer:
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, WIDTH)
    parts = VARIANTS[variant]()
    model = Transformer(
        2,
        lambda layer: DecoderBlock(
            attention=SelfAttention(WIDTH, HEADS, **parts),
            cross=CrossAttention(WIDTH, HEADS),
            feedforward=FeedForward(WIDTH, WIDTH),
            norm=norm,
            order=pre_norm,
        ),
        norm,
    )
    initialise(model, 0.3)
    return model.eval()


def in_steps(model: Transformer, documents: list[Tensor], memory: Packed, prompt: list[int]) -> list[Tensor]:
    """All but the last tokens of each document at once, the rest one by one."""
    cache = Cache(2, max(map(len, documents)), memory.layout.longest)
    starts = [document[:n] for document, n in zip(documents, prompt, strict=True)]
    outputs = [list(model(Packed.from_sequences(starts), memory, cache).sequences())]
    for step in range(min(len(d) - n for d, n in zip(documents, prompt, strict=True))):
        before = [n + step for n in prompt]
        new = torch.stack([document[at] for document, at in zip(documents, before, strict=True)])
        out = model(Packed(new, Layout([1] * len(new), before=before)), None, cache)
        outputs.append(list(out.sequences()))
    return [torch.cat(parts) for parts in zip(*outputs, strict=True)]


@pytest.mark.parametrize("variant", VARIANTS)
@given(prompt=st.lists(st.integers(1, 6), min_size=1, max_size=4), steps=st.integers(1, 5), seed=st.integers(0, 999))
def test_step_by_step_is_all_at_once(variant: str, prompt: list[int], steps: int, seed: int) -> None:
    """Sequences of unequal length together, without padding."""
    model = decoder(variant)
    torch.manual_seed(seed)
    documents = [torch.randn(n + steps, WIDTH) for n in prompt]
    memory = Packed.from_sequences([torch.randn(1 + n % 3, WIDTH) for n in prompt])
    with torch.inference_mode():
        whole = model(Packed.from_sequences(documents), memory).sequences()
        stepwise = in_steps(model, documents, memory, prompt)
    for one, other in zip(stepwise, whole, strict=True):
        assert (one - other).abs().max() <= 1e-5


def test_the_memory_of_a_window_is_bounded_by_it() -> None:
    cache = KeyValues(1000)
    for step in range(20):
        at = Layout([7, 3] if step == 0 else [1, 1], before=[0, 0] if step == 0 else [6 + step, 2 + step])
        cache.add(torch.randn(at.tokens, 2, 8), torch.randn(at.tokens, 2, 8), at, window=4)
    assert cache.keys.shape == (2, 2, 4, 8)
    assert cache.lengths == (26, 22)


def test_beams_take_their_past_with_them() -> None:
    model = decoder("rotary, shared keys")
    documents = [torch.randn(4, WIDTH), torch.randn(6, WIDTH)]
    memory = Packed.from_sequences([torch.randn(2, WIDTH), torch.randn(3, WIDTH)])
    cache = Cache(2, 9, 3)
    new = torch.randn(3, WIDTH)
    with torch.inference_mode():
        model(Packed.from_sequences(documents), memory, cache)
        cache.select(torch.tensor([1, 0, 1]))
        out = model(Packed(new, Layout([1, 1, 1], before=[6, 4, 6])), None, cache).values
        for row, source in enumerate([1, 0, 1]):
            together = torch.cat([documents[source], new[row : row + 1]])
            alone = model(Packed.from_sequences([together]), Packed.from_sequences([memory.sequences()[source]]))
            assert (out[row] - alone.values[-1]).abs().max() <= 1e-5


def test_a_sequence_goes_on_by_one_token_at_a_time() -> None:
    cache = KeyValues(9)
    cache.add(torch.randn(2, 1, 8), torch.randn(2, 1, 8), Layout([2]))
    with pytest.raises(ValueError, match="2 new tokens for 1 sequences"):
        cache.look(torch.randn(2, 1, 8), None, None)
