"""Learning from unlabelled text from random weights, for minutes to hours on one machine.

No dropout: in one or a few passes over a corpus nothing is learnt by heart.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """AdamW; the rate falls with the square root of the width, 1e-3 at 256."""
    return Recipe(
        minutes=10,
        lr=1e-3 * (256 / width) ** 0.5,
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.01,
        batch_tokens=4096,
        evaluations=10,
    )
