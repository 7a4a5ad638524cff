"""What a few steps change does not depend on the width: the rate of a small model is right for a large one.

The coordinate check of Yang et al. 2022, appendix D.1, on the patchword ladder with its own recipe.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.models.family import Model, preset, presets
from patchword.nn.packing import Layout, Packed
from patchword.training.optimizer import make_optimizer
from patchword.training.recipes import default_recipe

WIDTHS = (64, 128, 256, 512)
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


def changes(width: int, init_std: float, of_recipe: dict[str, Any], steps: int = 4) -> dict[str, float]:
    """By how much outputs of each part change on other texts (root mean square)."""
    torch.manual_seed(0)
    family, config = preset("patchword-mini")
    sizes = {"width": width, "heads": width // 32, "hidden": width * 11 // 4, "vocab_size": WORDS, "depth": 3}
    model = Model(family, config.model_copy(update=sizes | {"init_std": init_std}), "masked_token")
    recipe = default_recipe("pretrain", "masked_lm", width, 1, named=family.recipe)
    recipe = recipe.model_copy(update={"precision": "fp32"} | of_recipe)
    optimizer = make_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(2)
    layout, probe = Layout([LENGTH] * TEXTS), texts(generator)
    found: dict[str, Tensor] = {}

    def look() -> dict[str, Tensor]:
        parts: dict[str, nn.Module] = {"words": model.trunk.embed}
        for number, layer in enumerate(model.trunk.encoder.layers):
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
        hidden = torch.rand(words.shape, generator=generator) < 0.3
        scores = model(Packed(words.masked_fill(hidden, 3), layout))
        F.cross_entropy(scores[hidden], words[hidden]).backward()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * group["factor"]
        optimizer.step()
        optimizer.zero_grad()
    return {name: float((value - before[name]).square().mean().sqrt()) for name, value in look().items()}


def powers(init_std: float | None = None, **of_recipe: Any) -> dict[str, float]:
    """With which power of the width each change grows; None: weights begin as the ladder's do."""
    of = [changes(width, init_std or width**-0.5, of_recipe) for width in WIDTHS]
    widths = torch.tensor(WIDTHS).log()
    widths = widths - widths.mean()
    return {name: float(widths @ torch.tensor([c[name] for c in of]).log() / widths.square().sum()) for name in of[0]}


def test_changes_are_the_same_at_every_width() -> None:
    """A product of updates that do not all point one way grows a little less than with the width."""
    assert max(abs(power) for power in powers().values()) <= 0.3


def test_muon_needs_no_factor_for_the_width() -> None:
    assert max(abs(power) for power in powers(optimizer="muon", matrix_lr=3.0).values()) <= 0.3


def test_where_weights_begin_alike_at_every_width_changes_do_not() -> None:
    """So the check can fail."""
    found = powers(0.02)
    assert found["feed-forward 0"] >= 0.6
    assert found["words"] <= -0.4


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_begins_so(name: str) -> None:
    config = preset(name)[1]
    assert config.init_std == pytest.approx(config.width**-0.5)
