"""A model part by part: where its parameters are, and what each part costs for one sequence.

Parts are known by the type of their module, so that a family that is composed of known parts is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from patchword.explain import costs
from patchword.explain.costs import FP32, INDEX, Cost
from patchword.models.heads import Head, SequenceHead, VocabularyHead
from patchword.models.stems import PatchEmbedding, SegmentedEmbedding, WordEmbedding
from patchword.models.trunks import EncoderDecoder
from patchword.nn.attention import Attention, CrossAttention, SelfAttention
from patchword.nn.block import Block, DecoderBlock
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import FeedForward
from patchword.nn.norm import Scaled
from patchword.nn.positions import LearnedPositions, RelativeBias, Rotary
from patchword.nn.transformer import Transformer

META = torch.device("meta")
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm2d)


def part_of(module: nn.Module, inside: str) -> str:
    """What a module is called in a table.

    Args:
        module: it.
        inside: what the module around it is called.
    """
    if inside == "head":
        return inside
    match module:
        case Head():
            return "head"
        case Scaled():
            return part_of(module.inner, inside)
        case CrossAttention():
            return "cross-attention"
        case LearnedPositions() | RelativeBias():
            return "positions"
        case Attention():
            return "attention"
        case MixtureOfExperts():
            return "experts"
        case FeedForward():
            return "feed-forward"
        case PatchEmbedding():
            return "patches"
        case _ if isinstance(module, NORMS):
            return "norms"
        case nn.Embedding():
            return inside if inside != "other" else "word table"
        case nn.Conv2d() | nn.MaxPool2d() | nn.AvgPool2d():
            return inside if inside != "other" else "convolutions"
    return inside


def parameters(module: nn.Module, inside: str = "other") -> Iterator[tuple[str, nn.Parameter, float]]:
    """(part, parameter, share of it that one token uses) for all that is learnt; a shared one comes more than once."""
    part = part_of(module, inside)
    share = module.active / module.experts if isinstance(module, MixtureOfExperts) else 1.0
    for parameter in module.parameters(recurse=False):
        yield part, parameter, share
    for name, child in module.named_children():
        segments = isinstance(module, SegmentedEmbedding) and name == "segments"
        yield from parameters(child, "segments" if segments else part)


@dataclass
class Walk:
    """What the parts of a model cost for one sequence, in the order in which it goes through them.

    Args:
        width: numbers per token.
        tokens: that are read.
        written: that the decoder of an encoder-decoder is given.
        targets: share of the tokens that a vocabulary head scores.
    """

    width: int
    tokens: int
    written: int
    targets: float = 1.0
    costs: list[Cost] = field(default_factory=list)
    attentions: list[tuple[Attention, int, int]] = field(default_factory=list)
    """Each layer, tokens that look, tokens that are looked at."""
    _once: set[Any] = field(default_factory=set)

    def visit(self, module: nn.Module, n: float, inside: str = "other") -> None:
        """Add what a module costs that n tokens go through."""
        part = part_of(module, inside)
        match module:
            case EncoderDecoder():
                self._through((module.source, module.encoder), self.tokens, part)
                self._through((module.target, module.decoder), self.written, part)
            case PatchEmbedding():
                patches = (module.image_size[0] // module.project.stride[0]) * (
                    module.image_size[1] // module.project.stride[1]
                )
                self._convolution(part, module.project, patches)
                self.costs.append(costs.dropout(part, module.dropout, self.tokens, self.width))
            case WordEmbedding():
                self.costs.append(Cost("word table", kept=INDEX * n))
                self._through((module.positions, module.norm), n, part)
                self.costs.append(costs.dropout("word table", module.dropout, n, self.width))
            case LearnedPositions():
                self.costs.append(Cost(part, kept=INDEX * n))
            case Transformer():
                self._through((*module.layers, module.norm), n, part)
                self.costs.append(costs.dropout("norms", module.dropout, n, self.width))
            case Block():
                self._block(module, n, part)
            case Scaled():
                self.visit(module.inner, n, inside)
                # What the scale is learnt from: the result as it was.
                self.costs.append(Cost(part, kept=FP32 * n * len(module.scale)))
            case Attention():
                self._attention(module, n, part)
            case MixtureOfExperts():
                self.visit(module.router, n, part)
                self.costs.append(costs.experts(part, module, n))
            case FeedForward():
                self._through((module.up, module.down), n, part)
                self.costs.append(costs.between(part, module, n))
            case Head():
                self._head(module, n, part)
            case nn.Linear():
                self.costs.append(costs.linear(part, module, n))
            case nn.LayerNorm() | nn.RMSNorm():
                self.costs.append(costs.norm(part, module, n))
            case nn.Dropout():
                self.costs.append(costs.dropout(part, module, n, self.width))
            case _:
                self._through(tuple(module.children()), n, part)
                self._activation(module, n, part)

    def _through(self, modules: tuple[nn.Module | None, ...], n: float, part: str) -> None:
        for module in modules:
            if module is not None:
                self.visit(module, n, part)

    def _convolution(self, part: str, layer: nn.Conv2d, places: int) -> None:
        """Patches that do not overlap: what is kept is the picture."""
        self.costs.append(
            Cost(part, products=2 * places * layer.weight.numel(), kept=FP32 * places * layer.weight[0].numel())
        )

    def _block(self, block: Block, n: float, part: str) -> None:
        for name, module in block.named_children():
            if name != "dropout":
                self.visit(module, n, part)
        self.costs.append(costs.dropout("attention", block.dropout, n, self.width))
        if isinstance(block, DecoderBlock):
            self.costs.append(costs.dropout("cross-attention", block.dropout, n, self.width))
        self.costs.append(costs.dropout(part_of(block.feedforward, part), block.dropout, n, self.width))

    def _attention(self, layer: Attention, n: float, part: str) -> None:
        seen = n
        match layer:
            case CrossAttention():
                seen = self.tokens
                self.visit(layer.query, n, part)
                read = costs.linear(part, layer.key_value, seen)
                # All layers look at the same vectors, which are kept once.
                self.costs.append(read if self._first("memory") else replace(read, kept=0))
            case SelfAttention():
                self.visit(layer.qkv, n, part)
                if isinstance(layer.positions, Rotary):
                    rotary = layer.positions
                    if self._first((rotary.head_width, rotary.base, rotary.scaling, n)):
                        self.costs.append(Cost("positions", kept=FP32 * n * rotary.head_width))
                if layer.relative is not None and self._first(layer.relative):
                    # An index for each distance, and what the causal ones hide.
                    hidden = n * n if layer.learning.mask.causal else 0
                    self.costs.append(Cost("positions", once=INDEX * (2 * n - 1) + hidden))
                if costs.fused(layer) and layer.learning.mask.visible(int(n), META) is not None:
                    self.costs.append(Cost(part, once=FP32 * n * n))
        self.costs.append(costs.attend(part, layer, n, seen))
        self.visit(layer.out, n, part)
        self.attentions.append((layer, int(n), int(seen)))

    def _head(self, head: Head, n: float, part: str) -> None:
        match head:
            case VocabularyHead():
                rows = round(self.targets * n)
                self._through(tuple(child for child in head.children()), rows, part)
                self._activation(head, rows, part)
                # The loss keeps its gradients, and no scores; that of the tokens in place of what is compared.
                learnt = [head.scores.weight, *([head.added] if isinstance(head.added, nn.Parameter) else [])]
                self.costs.append(Cost("loss", once=FP32 * sum(parameter.numel() for parameter in learnt)))
            case SequenceHead():
                self._through(tuple(head.children()), 1, part)
                self._activation(head, 1, part)
            case _:
                self._through(tuple(head.children()), n, part)

    def _activation(self, module: nn.Module, n: float, part: str) -> None:
        """A dense layer and a function of what it gives, which something goes on with."""
        dense, function = getattr(module, "dense", None), getattr(module, "activation", None)
        if isinstance(dense, nn.Linear) and function is not None:
            self.costs.append(costs.activation(part, function, n, dense.out_features, then_kept=True))

    def _first(self, key: Any) -> bool:
        new = key not in self._once
        self._once.add(key)
        return new
