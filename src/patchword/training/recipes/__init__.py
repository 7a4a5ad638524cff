"""Tuned defaults, one module for each stage and task: `recipe(width, rows)` gives the settings.

Each docstring says what the recipe reached, at what cost, measured how.
"""

from __future__ import annotations

import importlib

from patchword.errors import UserError
from patchword.training.recipe import Recipe


def default_recipe(stage: str, task: str, width: int, rows: int) -> Recipe:
    """The default settings of a stage ("pretrain", "finetune") for a task.

    Args:
        width: numbers per token of the model: smaller models learn at higher rates.
        rows: examples to learn from.
    """
    name = f"{__name__}.{stage}_{task}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(f"There is no recipe to {stage} {task.replace('_', '-')}.") from error
    recipe: Recipe = module.recipe(width, rows)
    return recipe
