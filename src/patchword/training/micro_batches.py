"""Whether a batch that is computed in parts (`micro_tokens`) gives the gradient of the whole batch.

It does where the loss is a sum over examples: gradients are added up over the parts. Three things look at a batch as a
whole: batch norm, the supervised contrastive loss, and the load balancing loss of a mixture of experts.
"""

from __future__ import annotations

from torch import nn

from patchword.errors import UserError
from patchword.models.family import Model
from patchword.nn.experts import MixtureOfExperts
from patchword.training.recipe import Recipe


def batch_statistics(model: Model) -> bool:
    """Whether some trained part normalises by the mean and variance of a batch."""
    return any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) and any(p.requires_grad for p in part.parameters())
        for part in model.modules()
    )


def most_tokens(recipe: Recipe, length: int) -> int:
    """Tokens of the largest batch.

    Args:
        recipe: of the run.
        length: tokens of the longest example.
    """
    return min(recipe.batch_tokens, (recipe.batch_size or recipe.batch_tokens) * length)


def check_micro_batches(model: Model, recipe: Recipe, length: int, contrast: float) -> str:
    """Check that batches are not cut where that changes the result.

    Args:
        model: that is trained; it may be on the device "meta".
        recipe: of the run.
        length: tokens of the longest example.
        contrast: share of the supervised contrastive loss.

    Returns:
        What is computed per part where it is not computed over the batch, in a sentence; "" where all is exact.

    Raises:
        UserError: the model has batch norm, whose statistics would be those of a part.
    """
    if not recipe.micro_tokens or recipe.micro_tokens >= most_tokens(recipe, length):
        return ""
    if recipe.tune == "all" and batch_statistics(model):  # where the backbone is frozen, its statistics stay
        raise UserError(
            f"--micro-tokens {recipe.micro_tokens}: {model.family.model_type} models have batch norm, which normalises "
            "over the images that are computed at once, so smaller parts change the result. Give a smaller "
            "--batch-size or --batch-tokens instead."
        )
    inexact = []
    if contrast:
        inexact.append("the supervised contrastive loss (--contrast 0 leaves it out)")
    if any(isinstance(part, MixtureOfExperts) for part in model.modules()) and bool(
        getattr(model.config, "balance", 0)
    ):
        inexact.append("the load balancing loss of the experts")
    return f"--micro-tokens: computed within each part of a batch: {' and '.join(inexact)}." if inexact else ""
