"""What tasks have in common that spoil a text and have it written again: a source, and a target for the decoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from patchword.data.loader import Batch, Examples
from patchword.data.pieces import SequenceExamples
from patchword.data.shuffle import mix
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.models.family import Model
from patchword.models.trunks import EncoderDecoder, shifted
from patchword.nn.packing import Layout, Packed
from patchword.tasks.language_model import LanguageModel
from patchword.tasks.task import Ask, Compute
from patchword.tasks.writing import Prompts, written

_SPOIL = 4  # purpose of the random numbers


class CorruptedExamples(SequenceExamples):
    """Sequences of token ids, spoilt anew in every epoch.

    Args:
        sequences: without special tokens.
        tokenizer: says what stands around a text.
        start: the token that every written text begins with.
    """

    def __init__(self, sequences: Sequences, tokenizer: Tokenizer, start: int) -> None:
        self.sequences = sequences
        self.tokenizer = tokenizer
        self.start = start

    @abstractmethod
    def spoil(self, ids: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A sequence -> (what is read, what is to be written), both with the tokens around them."""

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Sources, targets as the decoder is given them, and every token of the targets to be said."""
        pairs = []
        for i, sequence in zip(ids, self.sequences.gather(ids), strict=True):
            random = np.random.Generator(np.random.Philox(key=int(mix(*key, _SPOIL, int(i), 0))))
            pairs.append(self.spoil(sequence.astype(np.int64), random))
        pairs.sort(key=lambda pair: (len(pair[0]), len(pair[1])))
        sources, targets = (_packed([pair[n] for pair in pairs]) for n in (0, 1))
        lengths = tuple(a + b for a, b in zip(sources.layout.lengths, targets.layout.lengths, strict=True))
        at = torch.arange(len(targets.values))
        return Batch((sources, shifted(targets, self.start)), targets.values, lengths, at)


class Corrupted(LanguageModel):
    """Write again what was spoilt in a text."""

    way_out = "next_token"
    trunk = EncoderDecoder

    @classmethod
    def frame(cls, tokenizer: Tokenizer) -> int:
        """What stands around a text."""
        return len(tokenizer.single)

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Any, ask: Ask) -> Examples:
        """Texts that are to be answered."""
        return Prompts([str(item) for item in items])

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`written`: what the decoder writes when it looks at each, as `generation_config.json` says."""
        return written(model, self.tokenizer, examples)


def _packed(sequences: list[np.ndarray]) -> Packed:
    return Packed(torch.from_numpy(np.concatenate(sequences)), Layout([len(s) for s in sequences]))
