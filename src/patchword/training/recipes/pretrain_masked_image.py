"""Masked image modelling from random weights (He et al. 2022, table 8, at the scale of one machine).

Seen once each, vit-mae-tiny on 5,521 digits of 28 pixels in patches of 4, 4 passes (88 steps, 3 minutes on one core),
a held-back loss of 0.358 at 1e-3, 0.359 at 3e-4, 0.362 at 3e-3; guessing each patch's mean 0.370. On 200 labels, 120
steps at 5e-4 from there: 32 % right; from random weights 26 %, with that stage's own weight decay. One seed and so few
steps say little; the 200 passes were not tried.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """200 passes in batches of 256; the rate falls with the square root of the width, 1e-3 at 192."""
    return Recipe(
        epochs=200,
        lr=1e-3 * (192 / width) ** 0.5,
        schedule="cosine",
        warmup=0.05,
        weight_decay=0.05,
        betas=(0.9, 0.95),
        batch_tokens=1 << 20,
        micro_tokens=32768,
        batch_size=256,
        evaluations=20,
    )
