"""Which parameters learn, how fast, and from when on: ways to fine-tune that a model knows nothing of."""

from __future__ import annotations

from torch import nn

from patchword.errors import UserError
from patchword.models.family import Model
from patchword.nn.convnet import ConvNet
from patchword.nn.transformer import Transformer

RATES = {"all": 1.0, "head": 100.0, "lora": 10.0, "dora": 10.0}
"""What a recipe's learning rate is multiplied by, by what learns: fewer parameters learn at higher rates.

Seen once, before the scores of new classes learnt faster than the rest (`Recipe.head_lr`), all-MiniLM-L6-v2 on 300
labels of 17 topics, the first 32 tokens, 4 passes: all parameters 40 % right (95 % interval 34 to 48), the head alone
52 % (46 to 60; at 10 times the rate 40 %), LoRA 60 % (54 to 67).
"""

THAWED_BY = 0.5
"""The share of a run after which everything learns, where layers are unfrozen one after the other."""


def head_rate(factor: float, tune: str, of: str = "all") -> float:
    """`Recipe.head_lr` where something else learns: the scores learn as fast as before, and never slower than the rest.

    Args:
        factor: `head_lr` of a recipe.
        tune: what learns now.
        of: what learns in that recipe.
    """
    return max(1.0, factor * RATES[of] / RATES[tune])


def stacks(trunk: nn.Module) -> list[tuple[str, str, int]]:
    """The stacks of layers in a trunk, from the way in on.

    Returns:
        For each what names in it begin with, what names in its layers begin with before their number, how many.
    """
    found = []
    for name, part in trunk.named_modules():
        own = f"{name}." if name else ""
        if isinstance(part, Transformer):
            found.append((own, f"{own}layers.", len(part.layers)))
        elif isinstance(part, ConvNet):
            found.append((own, f"{own}stages.", len(part.stages)))
    return found


def levels(model: Model) -> dict[str, int]:
    """How far from the way in each parameter is, by name.

    0 is the way in, 1 to L are the layers (those of a decoder come after its encoder's) and L + 1 is the head. A norm
    after the last layer belongs to that layer.
    """
    found_stacks = stacks(model.trunk)
    depth = sum(count for _, _, count in found_stacks)
    found = {}
    for name, _ in model.named_parameters():
        part, within = name.split(".", 1)
        found[name] = depth + 1 if part == "head" else _level(within, found_stacks)
    return found


def _level(name: str, stacks: list[tuple[str, str, int]]) -> int:
    below = 0
    for own, layers, count in stacks:
        if name.startswith(layers):
            return below + 1 + int(name.removeprefix(layers).split(".")[0])
        below += count
        if name.startswith(f"{own}norm."):
            return below
    return 0


def rate_factors(model: Model, decay: float) -> dict[str, float]:
    """By what each parameter's learning rate is multiplied: `decay` for every level below the head.

    Clark et al. 2020 (their code) and Bao et al. 2022: what lies lower is more general, and is to change less.
    """
    of = levels(model)
    top = max(of.values())
    return {name: decay ** (top - level) for name, level in of.items()}


def freeze_trunk(model: Model) -> None:
    """Leave the trunk as it is, so that the head alone learns.

    Raises:
        UserError: the head has no parameters of its own.
    """
    if {id(p) for p in model.head.parameters()} <= {id(p) for p in model.trunk.parameters()}:
        raise UserError(
            f"The head '{model.way_out}' of a {model.family.model_type} model has no weights of its own, so there is "
            "nothing to learn with --tune head. Leave it out, or take --tune lora."
        )
    model.trunk.requires_grad_(False)


def thaw(model: Model, progress: float) -> None:
    """Let learn what is to learn by now: the head first, then one layer more from the top (Howard and Ruder 2018).

    Each level has the same part of the run's first half, in which nothing below it learns.

    Args:
        model: any, in whatever state; what has been done of the run alone says what is frozen.
        progress: of the run, in [0, 1].
    """
    of = levels(model)
    steps = sorted(set(of.values()), reverse=True)
    lowest = steps[min(int(progress / THAWED_BY * (len(steps) - 1)), len(steps) - 1)]
    changed = False
    for name, parameter in model.named_parameters():
        learns = of[name] >= lowest
        changed |= parameter.requires_grad != learns
        parameter.requires_grad_(learns)
    if changed:
        learning(model)


def learning(model: Model) -> None:
    """Put the model into the mode for learning; parts in which nothing learns are used as they are.

    They have no dropout, and a batch norm there keeps its statistics.
    """
    model.train()
    for part in model.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()
