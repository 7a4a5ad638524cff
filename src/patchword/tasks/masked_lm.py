"""Masked language modelling: 15 % of the tokens are to be guessed (Devlin et al. 2018, section 3.1, task 1).

Of the tokens chosen, 80 % become [MASK], 10 % a random token, 10 % stay. The loss is on the chosen ones only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from patchword.data.loader import Batch, Examples, by_length
from patchword.data.pieces import SequenceExamples
from patchword.data.shuffle import mix, uniform
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.heads import MaskedTokenHead
from patchword.nn.packing import Layout, Packed
from patchword.tasks.language_model import LanguageModel
from patchword.tasks.task import Ask, Compute, Prepared

SHARE = 0.15
_CHOOSE, _ACTION, _REPLACE = 1, 2, 3  # purposes of a random number: equal keys, unequal numbers


class MaskedExamples(SequenceExamples):
    """Sequences of token ids, masked anew in every epoch.

    Args:
        sequences: without special tokens; the tokenizer's frame ([CLS] and [SEP]) is put around each.
        tokenizer: says which ids are special and which go on with a word.
        whole_word: choose words, not word pieces.
        share: of the tokens of each sequence that are chosen (at least one).
    """

    def __init__(
        self, sequences: Sequences, tokenizer: Tokenizer, *, whole_word: bool = False, share: float = SHARE
    ) -> None:
        self.sequences = sequences
        self.tokenizer = tokenizer
        self.whole_word = whole_word
        self.share = share
        self.ordinary = np.flatnonzero(~tokenizer.is_special)
        self.frame = len(tokenizer.single)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, its frame included."""
        return self.sequences.lengths(ids) + self.frame

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Masked sequences, the original tokens at the chosen places as targets."""
        ids = ids[by_length(self.sequences.lengths(ids))]
        lengths = self.sequences.lengths(ids)
        tokens = np.concatenate(self.sequences.gather(ids)).astype(np.int64)
        sequence = np.repeat(np.arange(len(ids)), lengths)
        place = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        chosen = self.choose(tokens, sequence, place, ids, key)
        at = (np.flatnonzero(chosen), ids[sequence[chosen]], place[chosen])

        targets = tokens[chosen]
        action = uniform(*key, _ACTION, at[1], at[2])
        random_token = self.ordinary[(mix(*key, _REPLACE, at[1], at[2]) % np.uint64(len(self.ordinary))).astype(int)]
        tokens[chosen] = np.where(
            action < 0.8, self.tokenizer.id("mask"), np.where(action < 0.9, random_token, targets)
        )

        before, after = self.tokenizer.before, self.tokenizer.after
        total = lengths + self.frame
        framed = np.empty(total.sum(), np.int64)
        inner = np.arange(len(tokens)) + self.frame * sequence + len(before)
        ends = np.cumsum(total)
        framed[inner] = tokens
        framed[(ends - total)[:, None] + np.arange(len(before))] = before
        framed[(ends - len(after))[:, None] + np.arange(len(after))] = after
        packed = Packed(torch.from_numpy(framed), Layout(total.tolist()))
        return Batch((packed,), torch.from_numpy(targets), packed.layout.lengths, torch.from_numpy(inner[at[0]]))

    def choose(
        self,
        tokens: np.ndarray,
        sequence: np.ndarray,
        place: np.ndarray,
        ids: np.ndarray,
        key: tuple[int, int],
    ) -> np.ndarray:
        """Which tokens are to be guessed, `[T]` bool: whole units in random order until the share is reached.

        A unit is a token, or all pieces of a word. A word that would go over the share is left; a sequence with
        nothing else gives its first. Special tokens in the text, such as [UNK], are never chosen.
        """
        starts_unit = place == 0
        if self.whole_word:
            starts_unit |= ~self.tokenizer.continues_word[tokens]
        else:
            starts_unit[:] = True
        unit = np.cumsum(starts_unit) - 1
        size = np.bincount(unit)
        owner, first_place = sequence[starts_unit], place[starts_unit]
        special = self.tokenizer.is_special[tokens[starts_unit]]
        # Special tokens come last in each sequence, whatever their number says.
        order = np.lexsort((mix(*key, _CHOOSE, ids[owner], first_place), special, owner))
        running = np.cumsum(size[order])
        leads = np.flatnonzero(np.diff(owner[order], prepend=-1))
        before = np.repeat(running[leads] - size[order][leads], np.diff(np.append(leads, len(order))))
        budget = np.maximum(1, np.round(np.bincount(sequence) * self.share))
        taken = running - before <= budget[owner[order]]
        taken[leads] = True
        picked = np.empty(len(order), bool)
        picked[order] = taken
        chosen: np.ndarray = (picked & ~special)[unit]
        return chosen


class MaskedLM(LanguageModel):
    """Guess the hidden words of a text."""

    name = "masked_lm"
    way_out = "masked_token"
    heeds = (*LanguageModel.heeds, "mask_share", "whole_word")

    @classmethod
    def examples(cls, sequences: Sequences, tokenizer: Tokenizer, ask: Ask, learning: bool) -> MaskedExamples:
        """Masked anew in every epoch; whole words or another share, where asked for, only while learning.

        So losses can be compared, whatever a model has learnt from.
        """
        share = ask.mask_share if learning else SHARE
        return MaskedExamples(sequences, tokenizer, whole_word=ask.whole_word and learning, share=share)

    @classmethod
    def check(cls, tokenizer: Tokenizer) -> None:
        """A mask."""
        if not tokenizer.has("mask"):
            raise UserError(
                "Guessing hidden words needs a mask token, and this tokenizer has none. Take a tokenizer that has one."
            )

    @classmethod
    def frame(cls, tokenizer: Tokenizer) -> int:
        """[CLS] and [SEP]."""
        return len(tokenizer.single)

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Validation figures, and guesses under a mask."""
        return super().report(model, prepared, compute) | {"guesses": self.guesses(model, prepared.validation, compute)}

    def guesses(self, model: Model, examples: Examples, compute: Compute, count: int = 6) -> list[dict[str, Any]]:
        """Held-out sentences with one hidden token each, what it was, and the likeliest guesses."""
        assert isinstance(model.head, MaskedTokenHead)
        assert isinstance(examples, MaskedExamples)
        shown: list[dict[str, Any]] = []
        model.eval()
        for i in range(len(examples)):
            tokens = examples.sequences.gather(np.array([i]))[0][:24].astype(np.int64)
            words = ~self.tokenizer.is_special[tokens] & ~self.tokenizer.continues_word[tokens]
            words &= np.array([self._readable(t).isalpha() for t in tokens])
            words[:-1] &= ~self.tokenizer.continues_word[tokens[1:]]
            words[-1] = False  # the word may go on after the cut
            if len(tokens) < 12 or words.sum() < 4:
                continue
            place = int(np.flatnonzero(words)[words.sum() // 2])
            hidden = tokens.copy()
            hidden[place] = self.tokenizer.id("mask")
            framed = torch.from_numpy(self.tokenizer.single.put(hidden)).to(compute.device)
            at = place + self.tokenizer.single.starts(len(hidden))[0]
            with torch.inference_mode():
                logits = model(Packed(framed, Layout([len(framed)], compute.device)))[at]
                best = logits.float().softmax(-1).topk(3)
            shown.append(
                {
                    "before": self.tokenizer.decode(tokens[:place]),
                    "hidden": self._readable(tokens[place]),
                    "after": self.tokenizer.decode(tokens[place + 1 :]),
                    "guesses": [
                        [self._readable(t), round(p, 4)]
                        for t, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                    ],
                }
            )
            if len(shown) == count:
                break
        return shown

    def _readable(self, i: int) -> str:
        """A token as text, without the space before it; one that stands for no text by its name."""
        text = self.tokenizer.decode([i])
        return text.strip() or ("white space" if text else self.tokenizer.token(i))


TASK = MaskedLM
