"""Texts as a model reads them: ids in the tokenizer's frame, packed end to end, with their token types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from patchword.data.frames import Frame
from patchword.data.tokenizers import Tokenizer
from patchword.nn.packing import Layout, Packed


def framed(tokenizer: Tokenizer, frame: Frame, texts: Sequence[Sequence[np.ndarray]]) -> Packed:
    """One sequence for each item.

    Args:
        tokenizer: says whether the model is given token types.
        frame: `tokenizer.single` or `tokenizer.pair`.
        texts: for each sequence the ids of its one or two texts.
    """
    sequences = [frame.put(*text) for text in texts]
    types = None
    if tokenizer.token_types and frame.has_types:
        types = torch.from_numpy(np.concatenate([frame.token_types(*map(len, text)) for text in texts]))
    layout = Layout([len(sequence) for sequence in sequences])
    return Packed(torch.from_numpy(np.concatenate(sequences)), layout, segments=types)


def cut_to(ids: np.ndarray, length: int, left: bool) -> np.ndarray:
    """The first `length` ids, or the last ones where a text loses its beginning (`truncation_side`)."""
    return ids[max(len(ids) - length, 0) :] if left else ids[:length]
