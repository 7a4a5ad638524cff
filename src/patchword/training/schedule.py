"""The learning rate and the size of batches over a run, and how far a run is."""

from __future__ import annotations

import math

from patchword.data.loader import Pace
from patchword.training.recipe import Recipe

_DECAY = 0.2  # last part of a warmup-stable-decay run (Hu et al. 2024, section 4)


def rate(recipe: Recipe, progress: float) -> float:
    """The learning rate when a share `progress` of the run is done, in [0, 1]."""
    if progress < recipe.warmup:
        # Not quite 0 at the start: the first step counts.
        return recipe.lr * max(progress, 0.02 * recipe.warmup) / recipe.warmup
    after = min((progress - recipe.warmup) / (1.0 - recipe.warmup), 1.0)
    match recipe.schedule:
        case "linear":
            return recipe.lr * (1.0 - after)
        case "cosine":
            return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * after))
        case "wsd":
            return recipe.lr * min(1.0, (1.0 - progress) / min(_DECAY, 1.0 - recipe.warmup))


def pace(recipe: Recipe, progress: float) -> Pace:
    """What share of its size a batch has when a share `progress` of the run is done, and texts of their length."""
    return Pace(
        _grown(recipe.batch_start, recipe.batch_ramp, progress),
        _grown(recipe.length_start, recipe.length_ramp, progress),
    )


def _grown(start: float, ramp: float, progress: float) -> float:
    return 1.0 if progress >= ramp else start + (1.0 - start) * progress / ramp


def progress(recipe: Recipe, *, step: int, epoch: float, seconds: float, seconds_allowed: float | None = None) -> float:
    """How much of the training is done, in [0, 1]: by steps, epochs or time, whichever the recipe counts.

    Args:
        recipe: says which.
        step, epoch: made so far.
        seconds: of this training so far.
        seconds_allowed: for this training, where it is part of a longer command; `recipe.minutes` where not given.
    """
    if recipe.steps is not None:
        return min(step / recipe.steps, 1.0)
    if recipe.epochs is not None:
        return min(epoch / recipe.epochs, 1.0)
    assert recipe.minutes is not None
    allowed = 60.0 * recipe.minutes if seconds_allowed is None else seconds_allowed
    return 1.0 if allowed <= 0 else min(seconds / allowed, 1.0)
