"""What decoders have in common, and encoder-decoders: how they begin a text and go on with it.

A family makes the parts; these put them in a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from patchword.models.stems import WordEmbedding
from patchword.nn.cache import Cache
from patchword.nn.packing import Layout, Packed
from patchword.nn.transformer import Transformer


class Beginning(NamedTuple):
    """Where a text that is to be generated begins: the first tokens that are decoded, and what they look at."""

    tokens: Packed
    memory: Packed | None


class Generative(nn.Module, ABC):
    """A trunk that can write: it reads what there is so far, and gives a vector that scores the next word."""

    decoder: Transformer
    max_length: int
    """Tokens that it can have at most, the beginning included."""

    @abstractmethod
    def begin(self, prompts: Packed) -> Beginning:
        """Token ids of the prompts -> where the texts that answer them begin."""

    @abstractmethod
    def decode(self, tokens: Packed, memory: Packed | None, cache: Cache | None) -> Packed:
        """Token ids `[T]` that go on -> `[T, width]`; what they say is added to the cache."""


class Decoder(Generative):
    """Words from left to right: each sees itself and earlier ones (Radford et al. 2018).

    Args:
        embed: the way in.
        decoder: causal layers.
        max_length: tokens of the longest sequence.
    """

    def __init__(self, embed: WordEmbedding, decoder: Transformer, max_length: int) -> None:
        super().__init__()
        self.embed = embed
        self.decoder = decoder
        self.max_length = max_length

    def begin(self, prompts: Packed) -> Beginning:
        """A prompt is the beginning."""
        return Beginning(prompts, None)

    def decode(self, tokens: Packed, memory: Packed | None, cache: Cache | None) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.decoder(self.embed(tokens), None, cache)
        return hidden

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden = self.decode(tokens, None, None)
        return Packed(hidden.values, hidden.layout, ids=tokens.values)


class Encoder(nn.Module):
    """The first half of an encoder-decoder, for tasks that write nothing.

    Args:
        source: the way in.
        encoder: layers that see in both directions.
    """

    def __init__(self, source: WordEmbedding, encoder: Transformer) -> None:
        super().__init__()
        self.source = source
        self.encoder = encoder

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.encoder(self.source(tokens))
        return hidden


class EncoderDecoder(Generative):
    """One stack reads a text in both directions, another writes one while it looks at it (Vaswani et al. 2017).

    Args:
        source: the way in of what is read.
        encoder: its layers.
        target: the way in of what is written.
        decoder: its layers, causal, with cross-attention.
        start: id of the token that every written text begins with.
        max_length: tokens of the longest written text.
    """

    def __init__(
        self,
        source: WordEmbedding,
        encoder: Transformer,
        target: WordEmbedding,
        decoder: Transformer,
        *,
        start: int,
        max_length: int,
    ) -> None:
        super().__init__()
        self.source = source
        self.encoder = encoder
        self.target = target
        self.decoder = decoder
        self.start = start
        self.max_length = max_length

    def encode(self, source: Packed) -> Packed:
        """Token ids `[S]` -> `[S, width]`."""
        memory: Packed = self.encoder(self.source(source))
        return memory

    def begin(self, prompts: Packed) -> Beginning:
        """A prompt is read whole; what is written begins with the start token."""
        count = len(prompts.layout)
        first = torch.full((count,), self.start, device=prompts.values.device)
        return Beginning(Packed(first, Layout([1] * count, first.device)), self.encode(prompts))

    def decode(self, tokens: Packed, memory: Packed | None, cache: Cache | None) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.decoder(self.target(tokens), memory, cache)
        return hidden

    def forward(self, source: Packed, target: Packed | None = None) -> Packed:
        """Token ids that are read `[S]` and written `[T]` -> `[T, width]`.

        Args:
            source: what is read.
            target: what is written, as it is given to the decoder: the start token first. The source itself where
                not given (a class is read from a decoder that reads along).
        """
        target = shifted(source, self.start) if target is None else target
        return self.decode(target, self.encode(source), None)


def shifted(tokens: Packed, start: int) -> Packed:
    """Each sequence one to the right, the start token first, its last token gone: what a decoder is given to say it."""
    values: Tensor = tokens.values.roll(1)
    return Packed(values.index_fill(0, tokens.layout.starts, start), tokens.layout)
