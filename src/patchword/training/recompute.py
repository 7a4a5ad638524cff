"""Learning within a memory: as many layers are computed a second time, in the backward pass, as it takes.

A layer that is computed again keeps only what came into it (Chen et al. 2016). The first layers are chosen: by the time
that they are needed again, all that the later ones kept is free.
"""

from __future__ import annotations

from torch import nn

from patchword.errors import UserError
from patchword.explain.costs import FP32
from patchword.explain.size import size_of
from patchword.explain.walk import Walk
from patchword.models.cross_entropy import AT_ONCE
from patchword.models.family import Model
from patchword.models.heads import VocabularyHead
from patchword.models.trunks import EncoderDecoder
from patchword.nn.transformer import Transformer
from patchword.training.micro_batches import batch_statistics

_MOMENTS = 2
"""Numbers that AdamW keeps of one that learns."""
_OF_SCORES = 3
"""Tensors of the size of all scores that a loss has at a time."""


def fit(model: Model, gigabytes: float, tokens: int, length: int | None = None, mean: bool = False) -> str:
    """Recompute as few layers as it takes to learn within so much memory.

    What a batch keeps is that of `patchword explain`: of all its sequences at full length, in fp32.

    Args:
        model: changed in place.
        gigabytes: for weights, gradients, AdamW's averages and what a batch keeps; Python and libraries come on top.
        tokens: that go through the model at once.
        length: of one text; pictures have theirs.
        mean: whether a mean of the weights is kept beside them.

    Returns:
        What was found, in a sentence.

    Raises:
        UserError: it is too little even where all layers are computed again.
    """
    size = size_of(model, length=length)
    sequences = max(1, tokens // max(size.tokens + size.written, 1))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = FP32 * ((1 + mean) * model.num_parameters + (1 + _MOMENTS) * learnt)
    words = model.head.scores.out_features if isinstance(model.head, VocabularyHead) else 0
    rest = size.kept(sequences) + _OF_SCORES * FP32 * min(tokens * words, AT_ONCE)

    stacks = [stack for stack in model.trunk.modules() if isinstance(stack, Transformer)]
    for stack in stacks:
        stack.recomputed = 0
    needed = float(held + rest)
    layers = [(stack, layer) for stack in stacks for layer in stack.layers]
    # The backward pass comes to the last layer first: computed again, all of it would be there just the same.
    for stack, layer in layers[:-1]:
        if needed <= gigabytes * 1e9:
            break
        needed -= _saved(model, stack, layer, size.tokens, size.written, sequences)
        stack.recomputed += 1
    count = sum(stack.recomputed for stack in stacks)
    if needed > gigabytes * 1e9:
        raise UserError(
            f"Learning from {tokens:,} tokens at once takes {needed / 1e9:.3g} GB"
            + (f", even where {count} of {len(layers)} layers are computed twice" if layers else "")
            + f"; --memory allows {gigabytes:g}. Give a smaller "
            + ("--batch-size or --batch-tokens." if batch_statistics(model) else "--micro-tokens: the batch stays.")
        )
    return f"Learning takes {needed / 1e9:.3g} of {gigabytes:g} GB; " + (
        f"{count} of {len(layers)} layers are computed twice." if count else "nothing is computed twice."
    )


def _saved(model: Model, stack: Transformer, layer: nn.Module, tokens: int, written: int, sequences: int) -> float:
    """Bytes that a layer keeps of a batch, but for what comes into it."""
    writes = isinstance(model.trunk, EncoderDecoder) and stack is model.trunk.decoder
    walk = Walk(getattr(model.config, "width", 0), tokens, written)
    n = written if writes else tokens
    walk.visit(layer, n)
    return sequences * (sum(cost.kept for cost in walk.costs) - FP32 * n * walk.width)
