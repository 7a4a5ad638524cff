"""Tuned defaults: `recipe(width, rows)` of `STAGE_TASK.py`, or of `STAGE.py` where a task needs nothing of its own.

A family can name a recipe (`Family.recipe`); its models learn with `STAGE_TASK_NAME.py` where there is one.

Each docstring says what the recipe was seen to reach, at what cost.
"""

from __future__ import annotations

import importlib
import importlib.util

from patchword.training.recipe import Recipe

CONTINUED = 0.25
"""What the learning rate of a pretraining is multiplied by where it goes on from weights: they are not to be lost."""


def default_recipe(stage: str, task: str, width: int, rows: int, continued: bool = False, named: str = "") -> Recipe:
    """The default settings of a stage ("pretrain", "finetune") for a task.

    Args:
        width: numbers per token of the model: smaller models learn at higher rates.
        rows: examples to learn from.
        continued: whether it starts from weights.
        named: the recipe that the model's family names, if it does.
    """
    own = f"{__name__}.{stage}_{task}"
    found = next(name for name in (f"{own}_{named}", own, f"{__name__}.{stage}") if importlib.util.find_spec(name))
    module = importlib.import_module(found)
    recipe: Recipe = module.recipe(width, rows)
    if continued and stage == "pretrain":
        return recipe.model_copy(update={"lr": recipe.lr * CONTINUED})
    return recipe
