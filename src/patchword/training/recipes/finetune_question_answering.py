"""Extractive question answering: Devlin et al. 2018, section 4.2 (2 to 3 passes), with more on few questions.

Seen once, all-MiniLM-L6-v2 on 541 questions in 702 windows, validation of 59 questions: at this rate (6e-5 at width
384) F1 0.28 after 100 steps of 16 (stopped at 148); at 3e-4 0.36 after 70 and 0.32 after 140 steps of 8. That model has
F1 0.304 (0.256 to 0.352) on 250 test questions, below the line that shares most words with the question (0.447): so few
questions and steps do not suffice, and a good rate is not known yet.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe


def recipe(width: int, rows: int) -> Recipe:
    """Batches of 16 windows; 3 passes, or as many (20 at most) as make 300 steps; 3e-5 at width 768, higher below."""
    return Recipe(
        epochs=min(20, max(3, round(300 * 16 / max(rows, 1)))),
        lr=3e-5 * (768 / width),
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
