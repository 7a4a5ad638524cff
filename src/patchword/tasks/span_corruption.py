"""Span corruption: runs of tokens become one sentinel each, and are to be written (Raffel et al. 2020, section 3.1.4).

15 % of the tokens in runs of 3 on average. What is read ends with the end token, and so does what is written:

    Thank you <extra_id_0> me to your party <extra_id_1> week.  ->  <extra_id_0> for inviting <extra_id_1> last
"""

from __future__ import annotations

import numpy as np

from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.tasks.corrupted import Corrupted, CorruptedExamples
from patchword.tasks.task import Ask

SHARE = 0.15
SPAN = 3.0


def spans(length: int, random: np.random.Generator, most: int = 1 << 30) -> np.ndarray:
    """Lengths of runs of a text: kept, hidden, kept, hidden, ... `[2 n]`, their sum is `length`.

    Both the kept and the hidden tokens are cut into n runs, every way to cut equally likely, as in T5's own
    `random_spans_noise_mask`.

    Args:
        length: tokens, at least 2.
        random: generator.
        most: runs at most.
    """
    hidden = min(max(round(length * SHARE), 1), length - 1)
    count = min(max(round(hidden / SPAN), 1), hidden, length - hidden, most)
    return np.stack([_cut(length - hidden, count, random), _cut(hidden, count, random)], axis=1).flatten()


def _cut(total: int, parts: int, random: np.random.Generator) -> np.ndarray:
    """So many positive numbers with that sum."""
    cuts = np.sort(random.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=total)


class SpanExamples(CorruptedExamples):
    """Sequences with runs hidden behind sentinels."""

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, read and written together."""
        plain = self.sequences.lengths(ids)
        hidden = np.maximum(np.rint(plain * SHARE), 1)
        sentinels = 2 * np.maximum(np.rint(hidden / SPAN), 1)
        frame = len(self.tokenizer.single) + len(self.tokenizer.after)
        return (plain + sentinels + frame).astype(np.int64)

    def spoil(self, ids: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A sequence -> (kept tokens and sentinels, sentinels and hidden tokens), each with its end."""
        sentinels = self.tokenizer.sentinels
        if len(ids) < 2:  # nothing would be left to read
            runs = np.array([0, len(ids)])
        else:
            runs = spans(len(ids), random, len(sentinels))
        source, target, at = list(self.tokenizer.before), [], 0
        for n, (kept, hidden) in enumerate(runs.reshape(-1, 2).tolist()):
            source += [*ids[at : at + kept].tolist(), sentinels[n]]
            target += [sentinels[n], *ids[at + kept : at + kept + hidden].tolist()]
            at += kept + hidden
        after = self.tokenizer.after
        return np.array([*source, *after], np.int64), np.array([*target, *after], np.int64)


class SpanCorruption(Corrupted):
    """Write what stood in the gaps of a text."""

    name = "span_corruption"

    @classmethod
    def check(cls, tokenizer: Tokenizer) -> None:
        """Sentinels."""
        if not tokenizer.sentinels:
            raise UserError(
                "Span corruption needs sentinels (<extra_id_0>, ...), and this tokenizer has none. Let one be learnt "
                "from the text, or take one that has them (--tokenizer)."
            )

    @classmethod
    def examples(cls, sequences: Sequences, tokenizer: Tokenizer, ask: Ask, learning: bool) -> SpanExamples:
        """The same for learning and for evaluation."""
        return SpanExamples(sequences, tokenizer, ask.start_token)


TASK = SpanCorruption
