"""The next word from random weights: the masked words' recipe, of which nothing else is needed here.

Seen once, two cores with bf16 units, GPT-2's 50,257 pieces, held-out loss. 300 seconds: `patchword-decoder-mini` 5.36,
a GPT-2 of its size with transformers' Trainer 7.45, in batches of 32 rows at 5e-4 7.16. 60 seconds on a slower machine:
6.74 (70 steps), the GPT-2 with the usual recipe 8.33 (42). Twice the batch 7.48 where this one gave 7.21 (words
and scores in one table). No other part was tried.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe
from patchword.training.recipes import pretrain_masked_lm_modern


def recipe(width: int, rows: int) -> Recipe:
    """AdamW, level and then falling, weights averaged."""
    hidden = Recipe.model_fields["mask_share"].default
    return pretrain_masked_lm_modern.recipe(width, rows).model_copy(update={"mask_share": hidden})
