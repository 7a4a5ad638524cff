"""Learning within a memory: the same slopes, and what is kept is what was foretold."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import patchword as pw
from patchword.errors import UserError
from patchword.explain.size import size_of
from patchword.models.family import Model, families, preset
from patchword.nn.packing import Layout, Packed
from patchword.nn.transformer import Transformer
from patchword.training.recompute import fit
from tests.explain.test_size import COUNT, LENGTH, WITHIN, build, inputs, saved_bytes, small

FAMILIES = ["bert", "gpt2", "t5", "bart", "vit", "mixtral", "modernbert"]


def stacks(model: Model) -> list[Transformer]:
    return [stack for stack in model.trunk.modules() if isinstance(stack, Transformer)]


def model_of(name: str, **more: Any) -> Model:
    family = families()[name]
    return build(family, small(family, **more), next(iter(family.ways_out)))


def slopes(model: Model) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(1)
    batch = inputs(model)
    batch = (batch, batch) if len(stacks(model)) == 2 else (batch,)
    model.features(*batch).values.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_computed_twice_has_the_same_slopes(name: str, dropout: float) -> None:
    """To the last bit, with the same noise."""
    model = model_of(name, dropout=dropout, attention_dropout=dropout).train()
    expected = slopes(model)
    for recomputed in (1, 2):
        for stack in stacks(model):
            stack.recomputed = recomputed
        found = slopes(model)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], slope) for name, slope in expected.items())


def test_nothing_is_computed_twice_in_an_evaluation() -> None:
    model = model_of("bert").eval()
    (stack,) = stacks(model)
    stack.recomputed = 2
    calls = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    model.features(inputs(model)).values.sum().backward()
    assert len(calls) == 2


def test_what_autograd_keeps_shrinks_by_what_was_foretold() -> None:
    """As the budget shrinks, layer by layer: what a layer keeps on paper, but for what comes into it."""
    sizes = {"dropout": 0.0, "attention_dropout": 0.0}
    model, smaller = (model_of("gpt2", **sizes, depth=depth) for depth in (6, 5))
    of_layer = size_of(model, length=48).kept(COUNT) - size_of(smaller, length=48).kept(COUNT)
    (stack,) = stacks(model)
    found: dict[int, int] = {}
    least = 0.0
    for gigabytes in torch.linspace(0.02, 0.0, 400).tolist():
        try:
            fit(model, gigabytes, COUNT * LENGTH, LENGTH)
        except UserError:
            break
        least = gigabytes
        if stack.recomputed not in found:
            found[stack.recomputed] = saved_bytes(model)
    assert list(found) == [0, 1, 2, 3, 4, 5]
    for one, other in pairwise(found.values()):
        assert one - other == pytest.approx(of_layer - 4 * COUNT * LENGTH * model.config.width, rel=WITHIN)
    with pytest.raises(UserError, match=r"even where 5 of 6 layers are computed twice; .*--micro-tokens"):
        fit(model, 0.9 * least, COUNT * LENGTH, LENGTH)
    # Weights, slopes and two averages of each come on top.
    assert least * 1e9 > 16 * model.num_parameters


def test_a_mean_beside_the_weights_takes_as_much_as_they() -> None:
    model = Model(*preset("bert-mini"), "masked_token")
    sentences = [fit(model, 1e3, COUNT * LENGTH, LENGTH, mean) for mean in (False, True)]
    without, beside = (float(re.findall(r"takes ([\d.]+) of", sentence)[0]) for sentence in sentences)
    # Told in three figures.
    assert beside - without == pytest.approx(4e-9 * model.num_parameters, abs=0.01 * beside)


def note(sizes: dict[int, int], tensor: Tensor) -> Tensor:
    storage = tensor.untyped_storage()
    sizes[storage.data_ptr()] = storage.nbytes()
    return tensor


def test_8192_tokens_keep_little() -> None:
    """One text of 8,192 tokens: what stays is linear in its length, and no matrix of tokens by tokens is made."""
    family = families()["gpt2"]
    config = small(family, dropout=0.0, attention_dropout=0.0, depth=2, width=16, hidden=32, heads=2)
    torch.manual_seed(0)
    model = Model(family, config.model_copy(update={"max_length": 8192}), "next_token").train()
    (stack,) = stacks(model)
    stack.recomputed = 2
    kept = {}
    for length in (4096, 8192):
        sizes: dict[int, int] = {}
        tokens = Packed(torch.randint(0, 300, (length,)), Layout([length]))
        with torch.autograd.graph.saved_tensors_hooks(partial(note, sizes), lambda tensor: tensor):
            hidden = model.features(tokens).values
        loss = model.head.loss(hidden, tokens.values)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        kept[length] = sum(sizes.values())
    assert kept[8192] < 2.1 * kept[4096]
    assert kept[8192] < 8192 * 16 * 4 * 16


def test_a_run_within_a_memory_learns_the_same(corpus_file: Path, tmp_path: Path) -> None:
    common = {"model": "bert-tiny", "lines": True, "steps": 2, "max_length": 32, "batch_tokens": 2048, "quiet": True}
    plain = pw.pretrain(corpus_file, out=tmp_path / "plain", **common)
    little = pw.pretrain(corpus_file, out=tmp_path / "little", memory=0.07, **common)
    assert [stacks(result.model)[0].recomputed for result in (plain, little)] == [0, 1]
    others = little.model.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in plain.model.state_dict().items())
    with pytest.raises(UserError, match=r"--memory allows 0\.001"):
        pw.pretrain(corpus_file, out=tmp_path / "none", memory=0.001, **common)
