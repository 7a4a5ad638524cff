"""Summaries from pretrained weights. Not measured and not tuned yet."""

from __future__ import annotations

from patchword.training.recipe import Recipe
from patchword.training.recipes import finetune


def recipe(width: int, rows: int) -> Recipe:
    """The usual recipe; 1e-4 at width 768, higher below. Few evaluations, as each writes summaries."""
    return finetune.recipe(width, rows).model_copy(update={"lr": 1e-4 * (768 / width), "evaluations": 3})
