"""Which tokens of a text speak for a decision: gradient times input.

Shapes: T tokens, c classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from patchword.models.family import Model
from patchword.models.stems import WordEmbedding
from patchword.nn.packing import Packed


def gradient_x_input(model: Model, text: Packed, classes: Tensor) -> Tensor:
    """What each token adds to a score, to first order, `[T]`: above 0 it speaks for it, below 0 against it.

    The sum over a token's word vector of vector times gradient (Simonyan et al. 2014; Denil et al. 2014). It says where
    a small change of a vector would change the score, which is not always why the model decides.

    Args:
        model: one that reads texts and scores classes, in evaluation mode. Of an encoder-decoder, whose decoder reads
            the text again, the way through its encoder counts.
        text: one text's token ids `[T]`.
        classes: `[c]`, the score as a sum over classes: 1 for a class; and -1 for another if the question is why the
            one and not the other.

    Raises:
        ValueError: the model reads no texts.
    """
    table = next((module.words for module in model.modules() if isinstance(module, WordEmbedding)), None)
    if table is None:
        raise ValueError(f"a {model.family.model_type} model reads no words")
    vectors: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Any, ...], result: Tensor) -> Tensor | None:
        if vectors:
            return None
        vectors.append(result.detach().requires_grad_())
        return vectors[0]

    hook = table.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = model(text)[0]
            (gradient,) = torch.autograd.grad(scores @ classes.to(scores), vectors)
    finally:
        hook.remove()
    return (gradient * vectors[0]).sum(-1).detach()
