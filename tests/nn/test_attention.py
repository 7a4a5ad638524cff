"""Packing never leaks: against the textbook formula, and by changing one document and watching the others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from patchword.nn.attention import (
    AT_ONCE,
    CAUSAL,
    Mask,
    Rule,
    SelfAttention,
    attend_by_runs,
    attend_in_blocks,
    attend_on_cpu,
)
from patchword.nn.block import Block, Order, post_norm, pre_norm
from patchword.nn.feedforward import FeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.packing import BlockLayout, Layout, Packed
from patchword.nn.positions import RelativeBias, Rotary
from patchword.nn.transformer import Transformer

WIDTH, HEADS = 32, 4
SEEDS = st.integers(0, 2**31)
LENGTHS = st.lists(st.integers(1, 7), min_size=2, max_size=6)
MASKS = {"both ways": Mask(), "causal": Mask(True), "window": Mask(False, 2), "causal window": Mask(True, 2)}


def variants(mask: Mask) -> dict[str, dict[str, Any]]:
    """The kinds of attention that published models have."""
    return {
        "plain": {},
        "rotary, shared keys, norms": {"positions": Rotary(8), "kv_heads": 2, "norm": partial(RMSNorm, eps=1e-6)},
        "relative": {
            "relative": RelativeBias(HEADS, buckets=8, furthest=6, both_ways=not mask.causal),
            "head_width": 6,
            "scale": 1.0,
        },
    }


KINDS = [
    (order, mask, variant)
    for order in (pre_norm, post_norm)
    for mask in MASKS.values()
    for variant in variants(mask)
    if order is pre_norm or (variant == "plain" and mask.window is None)
]
every_kind = pytest.mark.parametrize(
    ("order", "mask", "variant"),
    KINDS,
    ids=[
        f"{order.__name__}-{next(name for name in MASKS if MASKS[name] == mask)}-{variant}"
        for order, mask, variant in KINDS
    ],
)


def transformer(order: Order, mask: Mask, variant: str = "plain", seed: int = 0) -> Transformer:
    """Two layers with weights large enough that attention is far from uniform."""
    torch.manual_seed(seed)
    norm = partial(nn.LayerNorm, WIDTH)
    parts = variants(mask)[variant]
    model = Transformer(
        2,
        lambda layer: Block(
            attention=SelfAttention(WIDTH, HEADS, mask=mask, **parts),
            feedforward=FeedForward(WIDTH, 2 * WIDTH),
            norm=norm,
            order=order,
        ),
        norm=norm if order is pre_norm else nn.Identity,
    )
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.LayerNorm):
            nn.init.normal_(part.weight, mean=float(isinstance(part, nn.LayerNorm)), std=0.2)
            nn.init.normal_(part.bias, std=0.2)
    return model


def naive(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of one sequence in float64, head by head; all tensors `[length, H, D]`."""
    outputs = []
    for q, k, v in zip(query.unbind(1), key.unbind(1), value.unbind(1), strict=True):
        scores = q.double() @ k.double().T / q.shape[1] ** 0.5
        if causal:
            later = torch.arange(len(q))[None] > torch.arange(len(q))[:, None]
            scores = scores.masked_fill(later, -torch.inf)
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        outputs.append(weights @ v.double())
    return torch.stack(outputs, 1)


@given(lengths=LENGTHS, causal=st.booleans(), seed=SEEDS)
@pytest.mark.parametrize("attend", [attend_by_runs, attend_on_cpu])
def test_attention_is_the_formula_within_each_sequence(attend, lengths, causal, seed) -> None:
    torch.manual_seed(seed)
    query, key, value = 2 * torch.randn(3, sum(lengths), HEADS, 8)
    output = attend(query, key, value, Layout(lengths), Layout(lengths), Rule(Mask(causal)), None)
    parts = zip(*(x.split(lengths) for x in (query, key, value)), strict=True)
    expected = torch.cat([naive(q, k, v, causal) for q, k, v in parts])
    assert (output - expected).abs().max() <= 1e-5


@every_kind
@given(lengths=LENGTHS, changed=st.integers(0, 5), seed=SEEDS)
def test_a_change_to_one_document_leaves_the_others_bit_identical(order, mask, variant, lengths, changed, seed) -> None:
    model = transformer(order, mask, variant)
    torch.manual_seed(seed)
    changed %= len(lengths)
    documents = [torch.randn(length, WIDTH) for length in lengths]
    before = model(Packed.from_sequences(documents)).sequences()
    documents[changed] = 50 * torch.randn(lengths[changed], WIDTH)
    after = model(Packed.from_sequences(documents)).sequences()
    assert not torch.equal(before[changed], after[changed])
    for n in set(range(len(lengths))) - {changed}:
        assert torch.equal(before[n], after[n])


@every_kind
@given(lengths=LENGTHS, seed=SEEDS)
def test_a_pack_gives_what_each_document_gives_alone(order, mask, variant, lengths, seed) -> None:
    model = transformer(order, mask, variant)
    torch.manual_seed(seed)
    documents = [torch.randn(length, WIDTH) for length in lengths]
    packed = model(Packed.from_sequences(documents)).sequences()
    for document, together in zip(documents, packed, strict=True):
        alone = model(Packed.from_sequences([document])).values
        assert (alone - together).abs().max() <= 1e-5


@every_kind
@given(lengths=LENGTHS, asked=st.integers(0, 5), seed=SEEDS)
def test_the_gradient_of_one_document_stays_in_it(order, mask, variant, lengths, asked, seed) -> None:
    """Exactly 0 in all others, and bit for bit the same whatever stands in them."""
    model = transformer(order, mask, variant)
    torch.manual_seed(seed)
    asked %= len(lengths)
    weights = torch.randn(lengths[asked], WIDTH)
    mine = torch.randn(lengths[asked], WIDTH)
    gradients = []
    for scale in (1.0, 50.0):
        documents = [scale * torch.randn(length, WIDTH) for length in lengths]
        documents[asked] = mine
        packed = Packed.from_sequences(documents)
        packed.values.requires_grad_()
        (model(packed).sequences()[asked] * weights).sum().backward()
        gradients.append(packed.values.grad.split(lengths))
    for n, (first, second) in enumerate(zip(*gradients, strict=True)):
        if n == asked:
            assert first.abs().max() > 0
            assert torch.equal(first, second)
        else:
            assert not first.any()
            assert not second.any()


@every_kind
def test_weights_learn_from_a_pack_what_they_learn_from_its_documents(order, mask, variant) -> None:
    model = transformer(order, mask, variant)
    lengths = [3, 5, 5, 1, 7]
    documents = [torch.randn(length, WIDTH) for length in lengths]
    aims = [torch.randn(length, WIDTH) for length in lengths]

    def gradients(loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    together = gradients((model(Packed.from_sequences(documents)).values * torch.cat(aims)).mean())
    total = sum(lengths) * WIDTH
    alone = sum(
        gradients((model(Packed.from_sequences([document])).values * aim).sum() / total)
        for document, aim in zip(documents, aims, strict=True)
    )
    assert (together - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("order", [pre_norm, post_norm])
@given(length=st.integers(2, 9), seed=SEEDS)
def test_later_tokens_do_not_change_earlier_ones_when_causal(order, length, seed) -> None:
    model = transformer(order, Mask(True))
    torch.manual_seed(seed)
    other = torch.randn(3, WIDTH)
    document = torch.randn(length, WIDTH)
    before = model(Packed.from_sequences([other, document])).sequences()[1]
    changed = document.clone()
    changed[length // 2 :] = torch.randn(length - length // 2, WIDTH)
    after = model(Packed.from_sequences([other, changed])).sequences()[1]
    assert torch.equal(before[: length // 2], after[: length // 2])
    assert not torch.equal(before[length // 2 :], after[length // 2 :])
    # The same holds when they are not there at all.
    shorter = model(Packed.from_sequences([other, document[: length // 2]])).sequences()[1]
    assert (before[: length // 2] - shorter).abs().max() <= 1e-5


@pytest.mark.parametrize("order", [pre_norm, post_norm])
def test_earlier_and_later_tokens_both_count_when_not_causal(order) -> None:
    model = transformer(order, Mask())
    document = torch.randn(6, WIDTH)
    before = model(Packed.from_sequences([document])).values
    for place in (0, 5):
        changed = document.clone()
        changed[place] = torch.randn(WIDTH)
        after = model(Packed.from_sequences([changed])).values
        assert ((before - after).abs().max(1).values > 1e-3).all()


def test_the_order_of_the_norms_is_that_of_the_papers() -> None:
    """Post-norm ends normalised (Vaswani et al.); pre-norm with sub-layers of 0 is the identity (Xiong et al.)."""
    x = Packed.from_sequences([3 * torch.randn(5, WIDTH) + 1])
    parts = {"attention": SelfAttention(WIDTH, HEADS), "feedforward": FeedForward(WIDTH, WIDTH)}
    norm = partial(nn.LayerNorm, WIDTH)
    post = Block(**parts, norm=norm, order=post_norm)(x.values, x.layout)
    assert post.mean(1).abs().max() <= 1e-5
    assert (post.var(1, correction=0) - 1).abs().max() <= 1e-3
    for part in (parts["attention"].out, parts["feedforward"].down):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    pre = Block(**parts, norm=norm, order=pre_norm)(x.values, x.layout)
    assert torch.equal(pre, x.values)


@every_kind
def test_half_precision_is_near_full_precision(order, mask, variant) -> None:
    """bf16 keeps 8 bits: 0.4 % a product, a few of which follow one another."""
    model = transformer(order, mask, variant)
    packed = Packed.from_sequences([torch.randn(length, WIDTH) for length in (4, 4, 7, 1)])
    full = model(packed).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(packed).values.float()
    assert not torch.equal(full, half)
    assert (full - half).norm() <= 0.03 * full.norm()


def test_the_kernel_of_the_cpu_keeps_the_type_of_its_input() -> None:
    query, key, value = torch.randn(3, 6, HEADS, 8).bfloat16()
    layout = Layout([2, 4])
    output = attend_on_cpu(query, key, value, layout, layout, Rule(), None)
    assert output.dtype == torch.bfloat16
    expected = torch.cat([naive(*(x.split([2, 4])[n] for x in (query, key, value)), False) for n in (0, 1)])
    assert (output - expected).abs().max() <= 2**-8 * expected.abs().max()


@given(count=st.integers(1, 5), length=st.integers(1, 9), scale=st.sampled_from([None, 0.3]), seed=SEEDS)
def test_blocks_are_attended_as_by_the_kernel(count, length, scale, seed) -> None:
    """The same formula in another order: results and gradients agree as far as fp32 goes."""
    torch.manual_seed(seed)
    layout, rule = BlockLayout(count, length), Rule(scale=scale)
    query, key, value = (2 * torch.randn(count * length, HEADS, 8, requires_grad=True) for _ in range(3))
    weight = torch.randn(count * length, HEADS, 8)
    outputs = [
        attend_in_blocks(query, key, value, layout, rule),
        attend_by_runs(query, key, value, layout, layout, rule, None),
    ]
    for made, expected in zip(
        *([output, *torch.autograd.grad(output, (query, key, value), weight)] for output in outputs), strict=True
    ):
        assert (made - expected).detach().abs().max() <= 1e-5 * max(1.0, float(expected.detach().abs().max()))


def test_pictures_in_half_precision_are_attended_in_it_and_texts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With sequences up to a length: the weights of all pairs are there at once."""
    asked = []
    monkeypatch.setattr(
        "patchword.nn.attention.attend_in_blocks",
        lambda *given: asked.append(given[0].dtype) or attend_in_blocks(*given),
    )

    def attend(layout: Layout, dtype: torch.dtype, rule: Rule) -> float:
        parts = torch.randn(3, layout.tokens, HEADS, 8).to(dtype)
        output = attend_on_cpu(*parts, layout, layout, rule, None)
        expected = attend_by_runs(*parts.float(), layout, layout, rule, None)
        assert output.dtype == dtype
        return float((output - expected).norm() / expected.norm())

    half = torch.bfloat16
    # Scores and weights are rounded to 8 bits as well: 0.4 % each.
    assert attend(BlockLayout(3, 20), half, Rule()) <= 2**-7
    assert asked == [half]
    for layout, dtype, rule in (
        (BlockLayout(3, 20), torch.float32, Rule()),
        (BlockLayout(3, 20), half, Rule(CAUSAL)),
        (BlockLayout(1, AT_ONCE + 1), half, Rule()),
        (Layout([20, 20, 20]), half, Rule()),
    ):
        assert attend(layout, dtype, rule) <= 2**-8
    assert asked == [half]


def test_dropout_acts_on_the_weights_while_training_only() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(WIDTH, HEADS, dropout=0.5)
    x, layout = torch.randn(9, WIDTH), Layout([9])
    assert not torch.equal(attention(x, layout), attention(x, layout))
    attention.eval()
    assert torch.equal(attention(x, layout), attention(x, layout))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"width 32 .* 5 heads"):
        SelfAttention(32, 5)
