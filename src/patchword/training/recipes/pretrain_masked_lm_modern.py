"""Masked words from random weights, as encoders are pretrained since ModernBERT (Warner et al. 2024, section 2.2).

30 % of the words are hidden (Wettig et al. 2023); the rate is level and falls at the end; weights are averaged. In
half an hour on two cores patchword-mini comes to a held-out loss of 2.83, where the Trainer of transformers brings a
BERT of its size to 6.55. In a minute the words hidden are worth 0.58, the rate 0.32, the average nothing that shows,
and the model 1.5 and more (three seeds; `docs/pretraining.md`).
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """AdamW, 2e-3 at a width of 256; where it is wider, matrices learn slower by the width, the rest by its root.

    Then what a step changes is the same at every width (Yang et al. 2022), with weights that begin as the ladder's do.
    """
    return Recipe(
        minutes=10,
        lr=2e-3 * (256 / width) ** 0.5,
        matrix_lr=(256 / width) ** 0.5,
        schedule="wsd",
        warmup=0.05,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        batch_tokens=2048,
        mask_share=0.3,
        ema=0.05,
        evaluations=10,
    )
