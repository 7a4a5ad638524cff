"""Extractive question answering: Devlin et al. 2018, section 4.2 (2 to 3 passes), with more on few questions.

Seen once, all-MiniLM-L6-v2 on 541 questions in 702 windows, validation of 59 questions: at this rate (6e-5 at width
384) F1 0.28 after 100 steps of 16 (stopped at 148); at 3e-4 0.36 after 70 and 0.32 after 140 steps of 8. That model has
F1 0.304 (0.256 to 0.352) on 250 test questions, below the line that shares most words with the question (0.447): so few
questions and steps do not suffice, and a good rate is not known yet.
"""

from __future__ import annotations

from patchword.training.recipe import Recipe
from patchword.training.recipes import finetune


def recipe(width: int, rows: int) -> Recipe:
    """The usual recipe, in batches of 16 windows; 3e-5 at width 768, higher below."""
    return finetune.recipe(width, rows).model_copy(update={"lr": 3e-5 * (768 / width)})
