"""Ways in: from token ids or pixels to the packed vectors that the core reads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from patchword.nn.packing import Layout, Packed
from patchword.nn.positions import LearnedPositions


class WordEmbedding(nn.Module):
    """word + position + segment, then a norm (Devlin et al. 2018, figure 2).

    Args:
        vocab_size: rows of the word table.
        width: numbers per token.
        positions: called with the layout, gives what to add.
        segments: how many kinds of segment there are (sentence A, sentence B).
        norm: makes the norm.
        dropout: on the result, while training.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        *,
        positions: nn.Module,
        segments: int,
        norm: Callable[[], nn.Module],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width)
        self.positions = positions
        self.segments = nn.Embedding(segments, width)
        self.norm = norm()
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Packed, segments: Tensor | None = None) -> Packed:
        """Token ids `[T]` (and segment ids `[T]`; all 0 where not given) -> `[T, width]`."""
        segment = self.segments.weight[0] if segments is None else self.segments(segments)
        summed = self.words(tokens.values) + self.positions(tokens.layout) + segment
        return Packed(self.dropout(self.norm(summed)), tokens.layout)


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
        self.positions = LearnedPositions(1 + patches, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixels: Tensor) -> Packed:
        """`[N, channels, height, width]` -> N sequences of 1 + height x width / patch^2 tokens."""
        if pixels.shape[-2:] != self.image_size:
            raise ValueError(f"pictures of {tuple(pixels.shape[-2:])} pixels for a model of {self.image_size}")
        patches = self.project(pixels).flatten(2).transpose(1, 2)
        class_token = self.class_token.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.positions.weight
        layout = Layout([tokens.shape[1]] * len(tokens), tokens.device)
        return Packed(self.dropout(tokens.flatten(0, 1)), layout)
