"""Denoising: sentences in another order, runs of tokens behind one mask each; the text itself is to be written.

Lewis et al. 2020, section 2.2: text infilling of 30 % of the tokens in runs whose lengths are Poisson(3), where a run
of none is a mask put in, and sentence permutation.
"""

from __future__ import annotations

import numpy as np

from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.tasks.corrupted import Corrupted, CorruptedExamples
from patchword.tasks.task import Ask

SHARE = 0.3
SPAN = 3.0


def infill(ids: np.ndarray, mask: int, random: np.random.Generator) -> np.ndarray:
    """A sequence with runs of it replaced by one mask each.

    Args:
        ids: `[length]`.
        mask: the id that stands for a run.
        random: generator.
    """
    hidden = round(len(ids) * SHARE)
    lengths: list[int] = []
    while sum(lengths) < hidden:
        lengths.append(int(random.poisson(SPAN)))
    if not lengths:
        return ids
    lengths[-1] -= sum(lengths) - hidden
    # Where each run begins among the tokens that are kept.
    places = np.sort(random.integers(0, len(ids) - hidden + 1, len(lengths)))
    pieces, at = [], 0
    for length, kept in zip(lengths, np.diff(places, prepend=0), strict=True):
        pieces += [ids[at : at + kept], [mask]]
        at += kept + length
    return np.concatenate([*pieces, ids[at:]])


class DenoisingExamples(CorruptedExamples):
    """Sequences with sentences permuted and runs masked."""

    def __init__(self, sequences: Sequences, tokenizer: Tokenizer, start: int) -> None:
        super().__init__(sequences, tokenizer, start)
        self.mask = tokenizer.id("mask")
        tokens = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
        self.ends_sentence = np.array([token.endswith((".", "!", "?")) for token in tokens])

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, read and written together, at most (but for rare runs of none)."""
        return 2 * (self.sequences.lengths(ids) + len(self.tokenizer.single))

    def spoil(self, ids: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A sequence -> (spoilt, as it was), each with what stands around a text."""
        sentences = np.split(ids, np.flatnonzero(self.ends_sentence[ids[:-1]]) + 1)
        permuted = np.concatenate([sentences[i] for i in random.permutation(len(sentences))])
        frame = self.tokenizer.single
        return frame.put(infill(permuted, self.mask, random)), frame.put(ids)


class Denoising(Corrupted):
    """Write a spoilt text as it was."""

    name = "denoising"

    @classmethod
    def check(cls, tokenizer: Tokenizer) -> None:
        """A mask."""
        if not tokenizer.has("mask"):
            raise UserError("Denoising needs a mask token, and this tokenizer has none. Take a tokenizer that has one.")

    @classmethod
    def examples(cls, sequences: Sequences, tokenizer: Tokenizer, ask: Ask, learning: bool) -> DenoisingExamples:
        """The same for learning and for evaluation."""
        return DenoisingExamples(sequences, tokenizer, ask.start_token)


TASK = Denoising
