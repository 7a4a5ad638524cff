"""What a few steps change does not depend on the width: the rate of a small model is right for a large one.

The coordinate check of Yang et al. 2022, appendix D.1, on the patchword ladders with their own recipes.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.models.family import Model, preset, presets
from patchword.nn.packing import Layout, Packed
from patchword.nn.transformer import Transformer
from patchword.training.optimizer import make_optimizer
from patchword.training.recipes import default_recipe

WIDTHS = (64, 128, 256, 512)
FEW, ONE = range(4), range(1)
"""Seeds: the power of one part moves by 0.1 with the weights that a model begins with."""
WORDS, LENGTH, TEXTS = 200, 24, 12
LADDER = [name for name in presets() if name.startswith("patchword-")]


def texts(generator: torch.Generator) -> Tensor:
    """Each word is followed by one of four."""
    follows = torch.randint(WORDS, (WORDS, 4), generator=torch.Generator().manual_seed(1))
    words = torch.randint(WORDS, (TEXTS, 1), generator=generator)
    for _ in range(LENGTH - 1):
        which = torch.randint(4, (TEXTS,), generator=generator)
        words = torch.cat([words, follows[words[:, -1], which][:, None]], 1)
    return words.flatten()


def changes(
    name: str, width: int, init_std: float, of_recipe: dict[str, Any], seed: int, steps: int = 4
) -> dict[str, float]:
    """By how much outputs of each part change on other texts (root mean square).

    Words by how large they are: each layer reads them through a norm.
    """
    torch.manual_seed(seed)
    family, config = preset(name)
    heads = width // 32
    sizes = {"width": width, "heads": heads, "hidden": width * 11 // 4, "vocab_size": WORDS, "depth": 3}
    if masked := family.objective == "masked-lm":
        way_out, task = "masked_token", "masked_lm"
    else:
        way_out, task = "next_token", "causal_lm"
        sizes |= {"kv_heads": heads, "head_size": 32}
    model = Model(family, config.model_copy(update=sizes | {"init_std": init_std}), way_out)
    recipe = default_recipe("pretrain", task, width, 1, named=family.recipe)
    recipe = recipe.model_copy(update={"precision": "fp32"} | of_recipe)
    optimizer = make_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(2)
    layout, probe = Layout([LENGTH] * TEXTS), texts(generator)
    found: dict[str, Tensor] = {}

    def look() -> dict[str, Tensor]:
        parts: dict[str, nn.Module] = {"words": model.trunk.embed}
        stack = next(part for part in model.modules() if isinstance(part, Transformer))
        for number, layer in enumerate(stack.layers):
            parts |= {f"attention {number}": layer.attention, f"feed-forward {number}": layer.feedforward}
        hooks = []
        for name, part in parts.items():

            def keep(part: nn.Module, inputs: object, output: Tensor | Packed, name: str = name) -> None:
                found[name] = output.values if isinstance(output, Packed) else output

            hooks.append(part.register_forward_hook(keep))
        with torch.no_grad():
            scores = model(Packed(probe, layout))
        for hook in hooks:
            hook.remove()
        return found | {"scores": scores}

    before = dict(look())
    for _ in range(steps):
        words = texts(generator)
        if masked:
            hidden = torch.rand(words.shape, generator=generator) < 0.3
            scores, targets = model(Packed(words.masked_fill(hidden, 3), layout))[hidden], words[hidden]
        else:
            scores = model(Packed(words, layout)).view(TEXTS, LENGTH, -1)[:, :-1].flatten(0, 1)
            targets = words.view(TEXTS, LENGTH)[:, 1:].flatten()
        F.cross_entropy(scores, targets).backward()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * group["factor"]
        optimizer.step()
        optimizer.zero_grad()
    found = {name: value - before[name] for name, value in look().items()}
    size = {name: float(value.square().mean().sqrt()) for name, value in found.items()}
    return size | {"words": size["words"] / float(before["words"].square().mean().sqrt())}


def powers(
    name: str = "patchword-mini", init_std: float | None = None, seeds: range = ONE, **of_recipe: Any
) -> dict[str, float]:
    """With which power of the width each change grows, over seeds; None: weights begin as the ladder's do."""
    sizes: dict[str, list[float]] = {}
    for width in WIDTHS:
        of = [changes(name, width, init_std or width**-0.5, of_recipe, seed) for seed in seeds]
        for part in of[0]:
            sizes.setdefault(part, []).append(sum(math.log(c[part]) for c in of) / len(of))
    widths = torch.tensor(WIDTHS).log()
    widths = widths - widths.mean()
    return {part: float(widths @ torch.tensor(logs) / widths.square().sum()) for part, logs in sizes.items()}


@pytest.mark.parametrize("name", ["patchword-mini", "patchword-decoder-mini"])
def test_changes_are_the_same_at_every_width(name: str) -> None:
    """Nearly: a product of updates that do not all point one way grows a little less than with the width.

    Only a decoder's words learn more slowly the wider it is: with the rate of all that is no matrix of a layer.
    """
    found = powers(name, seeds=FEW)
    words = found.pop("words")
    assert max(abs(power) for power in found.values()) <= 0.45
    assert words == pytest.approx(-0.5 if "decoder" in name else 0.0, abs=0.1)


def test_muon_needs_no_factor_for_the_width() -> None:
    assert max(abs(power) for power in powers(optimizer="muon", matrix_lr=3.0).values()) <= 0.35


def test_where_weights_begin_alike_at_every_width_changes_do_not() -> None:
    """So the check can fail."""
    found = powers(init_std=0.02)
    assert found["feed-forward 0"] >= 0.6
    assert found["words"] <= -0.4


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_begins_so(name: str) -> None:
    config = preset(name)[1]
    assert config.init_std == pytest.approx(config.width**-0.5)
