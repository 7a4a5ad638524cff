"""The stack of layers, and how its weights begin."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from patchword.nn.attention import CrossAttention, SelfAttention
from patchword.nn.cache import Cache
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions, RelativeBias
from patchword.nn.sizes import missing


class Transformer(nn.Module):
    """`depth` layers, one after the other.

    Args:
        depth: how many.
        block: makes the layer of a number, from 0; called `depth` times.
        norm: makes the norm after the last layer; none where the layers end with one (post-norm).
        dropout: on the result, while training.
    """

    def __init__(
        self,
        depth: int,
        block: Callable[[int], nn.Module],
        norm: Callable[[], nn.Module] = nn.Identity,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(block(number) for number in range(depth))
        self.norm = norm()
        self.dropout = nn.Dropout(dropout)
        self.recomputed = 0
        """Layers, from the first on, that keep only what comes in and are computed again in the backward pass."""
        # Experts would count the tokens that are added to come to a usual number.
        self.missing = (lambda _: 0) if any(isinstance(part, MixtureOfExperts) for part in self.modules()) else missing

    def forward(self, sequences: Packed, memory: Packed | None = None, cache: Cache | None = None) -> Packed:
        """`[T, width]` -> `[T, width]`, same layout.

        Args:
            sequences: what is read.
            memory: other sequences, for layers that look at them.
            cache: of what was read before; what is read now is added.
        """
        alone = memory is None and cache is None
        read = sequences.filled(self.missing(sequences.values)) if alone else sequences
        hidden_states: Tensor = read.values
        kept = cache.layers if cache else [None] * len(self.layers)
        for number, (layer, of_layer) in enumerate(zip(self.layers, kept, strict=True)):
            if self.training and number < self.recomputed:
                hidden_states = checkpoint(layer, hidden_states, read.layout, memory, use_reentrant=False)
            else:
                hidden_states = layer(hidden_states, read.layout, memory, of_layer)
        output: Tensor = self.dropout(self.norm(hidden_states))
        return Packed(output if read is sequences else output[: len(sequences.values)], sequences.layout)


@torch.no_grad()
def cut_normal_(tensor: Tensor, std: float) -> None:
    """Fill it from a normal that is cut at two deviations; what falls outside, a twentieth, is drawn again.

    `nn.init.trunc_normal_` draws the whole tensor again each time, which takes a bert-base three times as long.
    """
    tensor.normal_(0.0, std)
    values = tensor.view(-1)
    while not tensor.is_meta and len(outside := (values.abs() > 2 * std).nonzero().squeeze(1)):
        values[outside] = torch.empty(len(outside), dtype=tensor.dtype, device=tensor.device).normal_(0.0, std)


def initialise(module: nn.Module, std: float) -> None:
    """Random weights to begin with: matrices and tables from a normal cut at two deviations, biases 0, norms 1.

    Devlin et al. 2018 (their code) and Dosovitskiy et al. 2021 use std = 0.02.
    """
    for part in module.modules():
        match part:
            case nn.Linear() | nn.Conv2d():
                cut_normal_(part.weight, std)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            case nn.Embedding() | LearnedPositions():
                cut_normal_(part.weight, std)
            case MixtureOfExperts():
                cut_normal_(part.up, std)
                cut_normal_(part.down, std)
            case nn.LayerNorm() | nn.RMSNorm() | nn.GroupNorm() | nn.BatchNorm2d():
                part.reset_parameters()


def initialise_residual(module: nn.Module, std: float, depth: int) -> None:
    """The same, smaller by 1 / sqrt(2 x depth) where something is added to the residual stream.

    Radford et al. 2019, section 2.3: so that the sum over all layers begins as large as one of them would be.
    """
    initialise(module, std)
    for name, parameter in module.named_parameters():
        if name.endswith(("attention.out.weight", "feedforward.down.weight")):
            parameter.data /= math.sqrt(2 * depth)


def initialise_unscaled(module: nn.Module, words: nn.Embedding, std: float) -> None:
    """Random weights for attention whose products are not scaled (Raffel et al. 2020, their code).

    Matrices keep the size of what goes in: `std / sqrt(inputs)`; queries are smaller by `sqrt(D)` instead of their
    products. Norms begin with `std`, and words with that deviation; scores of words that have a matrix of their own
    begin like shared ones, which are scaled.

    Args:
        module: what has the weights.
        words: its word table `[vocab_size, width]`.
        std: all are multiplied by it.
    """
    for part in module.modules():
        match part:
            case nn.Linear():
                nn.init.normal_(part.weight, std=std / math.sqrt(part.in_features))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            case nn.RMSNorm():
                nn.init.constant_(part.weight, std)
            case RelativeBias():
                nn.init.normal_(part.table.weight, std=std / math.sqrt(words.embedding_dim))
    with torch.no_grad():
        for part in module.modules():
            match part:
                case SelfAttention():
                    part.qkv.weight[: part.heads * part.head_width] /= math.sqrt(part.head_width)
                case CrossAttention():
                    part.query.weight /= math.sqrt(part.head_width)
    # At the end, because the scores may be this table.
    nn.init.normal_(words.weight, std=std)
