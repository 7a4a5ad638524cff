"""Masked pictures: the core reads the patches that are seen, a small decoder guesses the others (He et al. 2022).

Shapes: N pictures of P patches, of which k are seen and the others hidden; V numbers in a patch (its pixels' channels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from patchword.models.heads import Head
from patchword.models.stems import PatchEmbedding
from patchword.nn.packing import BlockLayout, Layout, Packed
from patchword.nn.positions import GridSinCos
from patchword.nn.transformer import Transformer


@dataclass(frozen=True)
class SeenPatches(Packed):
    """Sequences of a class token and the patches that were seen; `seen` `[N, k]` says which of the P they are."""

    seen: Tensor


class SeenPatchEmbedding(PatchEmbedding):
    """Only some patches go in, each with the fixed position of its place (He et al. 2022, section 3).

    Args:
        image_size, patch_size, channels, width, dropout: as in `PatchEmbedding`.
    """

    def __init__(
        self, image_size: tuple[int, int], patch_size: int, channels: int, width: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__(image_size, patch_size, channels, width, dropout=dropout)
        self.positions = GridSinCos((image_size[0] // patch_size, image_size[1] // patch_size), width)

    def forward(self, pixels: Tensor, seen: Tensor | None = None) -> SeenPatches:
        """Pixels and the numbers of the patches that are seen `[N, k]` (all where not given) -> N sequences of 1 + k.

        Args:
            pixels: `[N, channels, height, width]`.
            seen: numbers of patches, row by row from 0; the sequences have their order.
        """
        tokens = self.placed(self.patches(pixels))
        if seen is None:
            seen = torch.arange(tokens.shape[1] - 1, device=tokens.device).expand(tokens.shape[0], -1)
        patches = tokens[:, 1:].gather(1, seen[..., None].expand(-1, -1, tokens.shape[-1]))
        tokens = torch.cat([tokens[:, :1], patches], dim=1)
        layout = BlockLayout(tokens.shape[0], tokens.shape[1], tokens.device)
        return SeenPatches(self.dropout(tokens.flatten(0, 1)), layout, seen)


def cut(pixels: Tensor, size: int) -> Tensor:
    """`[N, channels, height, width]` -> the pixels of each patch, channels last, `[N, P, V]`."""
    patches = pixels.unfold(2, size, size).unfold(3, size, size)  # [N, channels, rows, columns, size, size]
    return patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def normalised(patches: Tensor) -> Tensor:
    """Each patch with mean 0 and variance 1: what He et al. 2022 (section 4.1) found best to guess."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def plain(patches: Tensor) -> Tensor:
    """The pixels as they are."""
    return patches


class MaskedImageHead(Head):
    """Pixels of every patch from the vectors of those that were seen (He et al. 2022, section 3, "MAE decoder").

    The seen ones are put at their places among copies of one mask vector; layers of their own read them all.

    Args:
        width: numbers per token of the core.
        decoder: the layers.
        decoder_width: numbers per token in them.
        grid: rows and columns of patches.
        patch_size: side of a patch in pixels.
        channels: numbers per pixel.
        targets: pixels of patches `[..., V]` -> what is to be guessed.
    """

    def __init__(
        self,
        width: int,
        decoder: Transformer,
        decoder_width: int,
        *,
        grid: tuple[int, int],
        patch_size: int,
        channels: int,
        targets: Callable[[Tensor], Tensor] = normalised,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        self.positions = GridSinCos(grid, decoder_width)
        self.decoder = decoder
        self.pixels = nn.Linear(decoder_width, patch_size**2 * channels)
        self.count = grid[0] * grid[1]
        self.patch_size = patch_size
        self.targets_of = targets

    def decode(self, hidden: Packed) -> Tensor:
        """Vectors of the patches that were seen -> of all, `[N * P, decoder_width]`."""
        assert isinstance(hidden, SeenPatches)
        count = len(hidden.layout)
        tokens = self.embed(hidden.values).view(count, -1, self.mask_token.shape[0])
        patches = self.mask_token.to(tokens.dtype).expand(count, self.count, -1)
        at = hidden.seen[..., None].expand(-1, -1, tokens.shape[-1])
        patches = patches.scatter(1, at, tokens[:, 1:])
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.positions.weight
        layout = Layout([1 + self.count] * count, tokens.device)
        decoded: Tensor = self.decoder(Packed(tokens.flatten(0, 1), layout)).values
        return decoded.view(count, 1 + self.count, -1)[:, 1:].flatten(0, 1)

    def forward(self, hidden: Packed) -> Tensor:
        """Vectors of the patches that were seen -> guesses for all, `[N * P, V]`."""
        guesses: Tensor = self.pixels(self.decode(hidden))
        return guesses

    def targets(self, pixels: Tensor, pictures: Tensor, patches: Tensor) -> Tensor:
        """What is to be guessed of patch `patches[n]` of picture `pictures[n]`, `[n, V]`."""
        return self.targets_of(cut(pixels, self.patch_size)[pictures, patches].float())

    def errors(self, hidden: Packed, pixels: Tensor, pictures: Tensor, patches: Tensor) -> Tensor:
        """Mean squared error of each of those patches, `[n]`.

        Args:
            hidden: vectors of the patches that were seen.
            pixels: the pictures, `[N, channels, height, width]`.
            pictures, patches: numbers of the hidden ones, `[n]`.
        """
        guesses: Tensor = self.pixels(self.decode(hidden)[pictures * self.count + patches])
        return (guesses.float() - self.targets(pixels, pictures, patches)).square().mean(-1)
