"""Tuned defaults: `recipe(width, rows)` of `STAGE_TASK.py`, or of `STAGE.py` where a task needs nothing of its own.

Each docstring says what the recipe was seen to reach, at what cost.
"""

from __future__ import annotations

import importlib
import importlib.util

from patchword.training.recipe import Recipe


def default_recipe(stage: str, task: str, width: int, rows: int) -> Recipe:
    """The default settings of a stage ("pretrain", "finetune") for a task.

    Args:
        width: numbers per token of the model: smaller models learn at higher rates.
        rows: examples to learn from.
    """
    own = f"{stage}_{task}"
    module = importlib.import_module(f"{__name__}.{own if importlib.util.find_spec(f'{__name__}.{own}') else stage}")
    recipe: Recipe = module.recipe(width, rows)
    return recipe
