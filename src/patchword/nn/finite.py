"""Outputs that a person gets are finite: a NaN would be sorted, compared and written like a number."""

from __future__ import annotations

from torch import Tensor

from patchword.errors import NotFinite


def finite(outputs: Tensor) -> Tensor:
    """What a model gives, unchanged.

    Raises:
        NotFinite: a number in it is NaN or infinite.
    """
    if not outputs.isfinite().all():
        raise NotFinite(
            "The model gives numbers that are not finite (NaN or infinity): its weights are too large to compute with. "
            "Use --precision fp32 if it computes in another type, or another checkpoint."
        )
    return outputs
