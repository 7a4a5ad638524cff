"""The next word from random weights: the masked words' recipe, of which nothing else is needed here."""

from __future__ import annotations

from patchword.training.recipe import Recipe
from patchword.training.recipes import pretrain_masked_lm_modern


def recipe(width: int, rows: int) -> Recipe:
    """AdamW, level and then falling, weights averaged."""
    hidden = Recipe.model_fields["mask_share"].default
    return pretrain_masked_lm_modern.recipe(width, rows).model_copy(update={"mask_share": hidden})
