"""Fine-tuning on labelled text: Devlin et al. 2018, appendix A.3, with the longer runs on few labels
that Mosbach et al. 2021 found to end the collapses.

What it reaches is told by the recipes that go on from it.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """Batches of 16; 3 passes, or as many (20 at most) as make 300 steps; 4e-5 at width 768, higher below."""
    return Recipe(
        epochs=min(20, max(3, round(300 * 16 / max(rows, 1)))),
        lr=4e-5 * (768 / width),
        schedule="linear",
        warmup=0.1,
        weight_decay=0.01,
        betas=(0.9, 0.999),
        batch_tokens=1 << 16,
        micro_tokens=8192,
        batch_size=16,
        dropout=0.1,
        evaluations=6,
    )
