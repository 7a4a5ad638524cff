"""Learning from unlabelled text from random weights, for minutes to hours on one machine.

No dropout: in one or a few passes over a corpus nothing is learnt by heart. The rate is the one of two that never
stayed at the word frequencies: bert-mini on docstrings, 530 steps of 1,024 tokens in pieces of 128 (45 seconds on two
cores), word frequencies 5.94 nats: at 5e-4 four seeds ended at 5.55 to 5.58; at 1e-3 three ended at 5.52 to 5.53 and
one at 6.04. Longer runs were not compared.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """AdamW; the rate falls with the square root of the width, 5e-4 at 256."""
    return Recipe(
        minutes=10,
        lr=5e-4 * (256 / width) ** 0.5,
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.01,
        batch_tokens=4096,
        evaluations=10,
    )
