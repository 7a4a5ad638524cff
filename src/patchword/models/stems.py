"""Ways in: from token ids or pixels to the packed vectors that the core reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from patchword.nn.packing import Packed
from patchword.nn.positions import GridSinCos, LearnedPositions


class WordEmbedding(nn.Module):
    """word + position, then a norm (Vaswani et al. 2017, sections 3.4 and 3.5).

    Args:
        words: the word table `[vocab_size, width]`; two ways in can share one.
        positions: `of(tokens)` gives what to add; nothing where positions come in later (rotary, relative).
        norm: of the sum; none where None.
        dropout: on the result, while training.
    """

    def __init__(
        self,
        words: nn.Embedding,
        *,
        positions: LearnedPositions | None = None,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words = words
        self.positions = positions
        self.norm = norm or nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def summed(self, tokens: Packed) -> Tensor:
        """Token ids `[T]` -> `[T, width]`: what each word is, and where it stands."""
        words: Tensor = self.words(tokens.values)
        return words if self.positions is None else words + self.positions.of(tokens)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        return Packed(self.dropout(self.norm(self.summed(tokens))), tokens.layout)


class SegmentedEmbedding(WordEmbedding):
    """word + position + segment, then a norm (Devlin et al. 2018, figure 2).

    Args:
        segments: how many kinds of segment there are (sentence A, sentence B).
        The rest is `WordEmbedding`'s.
    """

    def __init__(
        self, words: nn.Embedding, *, segments: int, positions: LearnedPositions, norm: nn.Module, dropout: float = 0.0
    ) -> None:
        super().__init__(words, positions=positions, norm=norm, dropout=dropout)
        self.segments = nn.Embedding(segments, words.embedding_dim)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` (and their segments) -> `[T, width]`."""
        # A table of one row has one kind of segment, whatever a tokenizer tells apart.
        one = tokens.segments is None or self.segments.num_embeddings == 1
        segment = self.segments.weight[0] if one else self.segments(tokens.segments)
        return Packed(self.dropout(self.norm(self.summed(tokens) + segment)), tokens.layout)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches, each mapped linearly, after a class token (Dosovitskiy et al. 2021, equation 1).

    Cutting into patches and multiplying each by one matrix *is* a convolution whose stride is its size.

    Args:
        image_size: height and width of the pictures in pixels; multiples of the patch.
        patch_size: side of a patch in pixels.
        channels: numbers per pixel.
        width: numbers per token.
        dropout: on the result, while training.
    """

    def __init__(
        self, image_size: tuple[int, int], patch_size: int, channels: int, width: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.project = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(width))
        patches = (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.positions: LearnedPositions | GridSinCos = LearnedPositions(1 + patches, width)
        self.dropout = nn.Dropout(dropout)

    def patches(self, pixels: Tensor) -> Tensor:
        """`[N, channels, height, width]` -> `[N, P, width]`, P patches row by row."""
        if pixels.shape[-2:] != self.image_size:
            raise ValueError(f"pictures of {tuple(pixels.shape[-2:])} pixels for a model of {self.image_size}")
        patches: Tensor = self.project(pixels)
        return patches.flatten(2).transpose(1, 2)

    def special(self) -> Tensor:
        """The tokens before the patches, `[S, width]`."""
        return self.class_token[None]

    def placed(self, patches: Tensor) -> Tensor:
        """`[N, P, width]` -> `[N, S + P, width]`: the special tokens in front, and each with where it stands."""
        special = self.special().to(patches.dtype).expand(patches.shape[0], -1, -1)
        return torch.cat([special, patches], dim=1) + self.positions.weight

    def forward(self, pixels: Tensor) -> Packed:
        """`[N, channels, height, width]` -> N sequences of 1 + height x width / patch^2 tokens."""
        return Packed.from_block(self.dropout(self.placed(self.patches(pixels))))
