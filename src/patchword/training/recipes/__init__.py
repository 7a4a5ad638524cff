"""Tuned defaults: `recipe(width, rows)` of `STAGE_TASK.py`, or of `STAGE.py` where a task needs nothing of its own.

Each docstring says what the recipe was seen to reach, at what cost.
"""

from __future__ import annotations

import importlib
import importlib.util

from patchword.training.recipe import Recipe

CONTINUED = 0.25
"""What the learning rate of a pretraining is multiplied by where it goes on from weights: they are not to be lost."""


def default_recipe(stage: str, task: str, width: int, rows: int, continued: bool = False) -> Recipe:
    """The default settings of a stage ("pretrain", "finetune") for a task.

    Args:
        width: numbers per token of the model: smaller models learn at higher rates.
        rows: examples to learn from.
        continued: whether it starts from weights.
    """
    own = f"{stage}_{task}"
    module = importlib.import_module(f"{__name__}.{own if importlib.util.find_spec(f'{__name__}.{own}') else stage}")
    recipe: Recipe = module.recipe(width, rows)
    slower = continued and stage == "pretrain"
    return recipe.model_copy(update={"lr": recipe.lr * CONTINUED}) if slower else recipe
