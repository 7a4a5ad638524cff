"""A topic, a sentiment, several tags or a number for each text, or for each pair of texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from patchword.data.columns import Sample
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Labelled
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice, UserError
from patchword.tasks.classification import Classification
from patchword.tasks.framed import cut_to, framed
from patchword.tasks.labelled import LabelledExamples
from patchword.tasks.task import OF_TEXTS, Ask, Reader, Windows, kept_tokenizer
from patchword.tasks.windows import even_starts, window_counts

Text = str | tuple[str, str]
MOST_CUT = 0.05
"""Share of the tokens that may be cut off before texts are read in windows, where nothing is said."""
OVERLAP = 4
"""Neighbouring windows of a long text share one part in so many, or more."""


class TextExamples(LabelledExamples):
    """Texts as token ids in the tokenizer's frame ([CLS] before and [SEP] after), cut at `max_length`.

    Args:
        texts: as they are; each a text, or each a pair of them.
        tokenizer: makes the ids.
        max_length: tokens at most, special ones included. Of a pair the longer text is cut first.
        targets: one a text, where they are known.
        windows: "always": a longer text is read in windows of that length, each of which overlaps the one before by a
            quarter or more. "never": its rest is cut off. "auto": windows where that would be over 5 % of all tokens.
            Pairs have none.

    While learning, a text is one of its windows, drawn anew in each epoch: so a long text counts as much as a short
    one, and an epoch costs no more than with texts cut off. To evaluate, all of its windows are read (`parts`).

    Attributes:
        windows: how many each text has, `[n]`.
        cut: how many of the texts are not read to their end.
    """

    def __init__(
        self,
        texts: Sequence[Text],
        tokenizer: Tokenizer,
        max_length: int,
        targets: np.ndarray | None = None,
        windows: Windows = "never",
    ) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.targets = np.zeros(len(texts), np.int64) if targets is None else targets
        self.pairs = any(isinstance(text, tuple) for text in texts)
        encoded = [_encoded([text[i] for text in texts], tokenizer) for i in range(2)] if self.pairs else []
        encoded = encoded or [_encoded(texts, tokenizer)]
        self.around = tokenizer.pair if self.pairs else tokenizer.single
        self.frame = len(self.around)
        if not self.frame:
            # An empty text must be something to a model whose tokenizer puts nothing around it.
            nothing = np.array([tokenizer.id("bos") if tokenizer.has("bos") else tokenizer.pad], np.int32)
            empty = [not any(map(len, row)) for row in zip(*encoded, strict=True)]
            encoded[0] = [nothing if bare else ids for ids, bare in zip(encoded[0], empty, strict=True)]
        lengths = np.array([[len(ids) for ids in side] for side in encoded], np.int64).reshape(len(encoded), -1)
        self.room = max_length - self.frame
        kept = _longest_first(lengths, self.room)
        in_windows = windows == "always" or (windows == "auto" and (lengths - kept).sum() > MOST_CUT * lengths.sum())
        if in_windows and not self.pairs:
            kept = lengths
        self.windows = window_counts(kept[0], self.room, self.room - self.room // OVERLAP)
        self.sides = [
            Sequences.from_arrays([cut_to(ids, n, tokenizer.cuts_left) for ids, n in zip(side, most, strict=True)])
            for side, most in zip(encoded, kept, strict=True)
        ]
        total, dropped = int(lengths.sum()), int((lengths - kept).sum())
        long = int((lengths.sum(0) > self.room).sum())
        self.cut = int((lengths > kept).any(0).sum())
        self.facts = {"tokens": total, "dropped_tokens": dropped, "padding": 0.0, "max_length": max_length}
        self.settings = {"windows": "always" if in_windows and not self.pairs else "never"}
        self.notes = (
            f"{total / max(len(texts), 1):.0f} tokens a {self.kind}; {dropped / max(total, 1):.1%} of all tokens are "
            f"cut off ({self.kind}s of over {max_length}: {long:,}). Packed end to end, 0.0 % padding.",
        )
        if (many := self.windows > 1).any():
            self.notes += (
                f"{many.sum():,} texts are read in {self.windows[many].sum():,} windows of {max_length} tokens: to "
                "learn, one of them, drawn anew in each epoch; to predict, the mean of all.",
            )

    @property
    def kind(self) -> str:
        """What an example is called."""
        return "pair" if self.pairs else "text"

    def __len__(self) -> int:
        return len(self.texts)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, its frame included; all windows of a text are equally long."""
        return np.minimum(sum(part.lengths(ids) for part in self.sides), self.room) + self.frame

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids (and segments of pairs) and targets, in the order of `ids`; of a long text a window, by the key."""
        counts = self.windows[ids].tolist()
        drawn = [
            np.random.default_rng((*key, int(i))).integers(n) if n > 1 else 0 for i, n in zip(ids, counts, strict=True)
        ]
        return self.of_windows(ids, np.array(drawn, np.int64))

    def parts(self) -> tuple[Examples, np.ndarray]:
        """All windows of all texts, and which text each belongs to."""
        owners = np.repeat(np.arange(len(self)), self.windows)
        return AllWindows(self, owners), owners

    def of_windows(self, ids: np.ndarray, numbers: np.ndarray) -> Batch:
        """Of each text the window with that number."""
        texts = list(zip(*(side.gather(ids) for side in self.sides), strict=True))
        if not self.pairs:
            starts = even_starts(self.sides[0].lengths(ids), self.windows[ids], numbers, self.room)
            texts = [(text[start : start + self.room],) for (text,), start in zip(texts, starts, strict=True)]
        packed = framed(self.tokenizer, self.around, texts)
        return Batch((packed,), torch.from_numpy(self.targets[ids]), packed.layout.lengths)

    def raw(self) -> Any:
        """The texts, or the pairs."""
        return self.texts

    def shown(self) -> Sequence[Any]:
        """The same."""
        return self.texts


class AllWindows(Examples):
    """Each window of each text as an example of its own.

    Args:
        examples: the texts.
        owners: the text of each window, `[windows]`, ascending.
    """

    def __init__(self, examples: TextExamples, owners: np.ndarray) -> None:
        self.examples, self.owners = examples, owners
        self.numbers = np.arange(len(owners)) - np.searchsorted(owners, owners)

    def __len__(self) -> int:
        return len(self.owners)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Those of the texts."""
        return self.examples.lengths(self.owners[ids])

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Nothing is random."""
        return self.examples.of_windows(self.owners[ids], self.numbers[ids])


def _encoded(texts: Sequence[Any], tokenizer: Tokenizer) -> list[np.ndarray]:
    return [ids for start in range(0, len(texts), 1000) for ids in tokenizer.encode(texts[start : start + 1000])]


def _longest_first(lengths: np.ndarray, room: int) -> np.ndarray:
    """How many ids of each text are kept: `[1 or 2, n]` -> the same.

    Of a pair the shorter one is kept as long as it needs no more than half of the room.
    """
    if len(lengths) == 1:
        return np.minimum(lengths, room)
    half = np.array([[room // 2], [room - room // 2]])
    # The odd token goes to the longer text, to the second of two that are equally long.
    half = np.where(lengths[0] > lengths[1], half[::-1], half)
    return np.minimum(lengths, np.maximum(half, room - lengths[::-1]))


class TextClassification(Classification):
    """Which class (or classes, or number) a text has, or a pair of texts."""

    name = "text_classification"
    modality = "text"
    contrasts = True
    heeds = (*OF_TEXTS, *Classification.heeds, "pair_column", "windows")

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """One column, or the two of a pair."""
        pair = sample.pair_columns(ask.text_column, ask.pair_column)
        return super().input_columns(sample, ask) if pair is None else pair[:2]

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> TextExamples:
        """Texts, or pairs of them, without labels. A warning says how many are not read to their end."""
        return _told(_examples(items, reader, ask))

    def encoded(self, rows: Labelled, ask: Ask, reader: Reader) -> LabelledExamples:
        """Rows whose labels are the model's; the same warning."""
        return _told(super().encoded(rows, ask, reader))

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> TextExamples:
        """Tokenise the rows' texts."""
        examples = _examples(rows.inputs, reader, ask, targets)
        examples.origins = rows.origins
        return examples


Read = TypeVar("Read", bound=LabelledExamples)


def _told(examples: Read) -> Read:
    if isinstance(examples, TextExamples) and examples.cut:
        most, dropped = examples.facts["max_length"], examples.facts["dropped_tokens"] / examples.facts["tokens"]
        warnings.warn(
            f"{examples.cut:,} of {len(examples):,} {examples.kind}s are longer than the {most} tokens that the model "
            f"reads; the rest of them is cut off, {dropped:.1%} of all tokens.",
            Notice,
            stacklevel=4,
        )
    return examples


def _examples(items: Sequence[Any], reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> TextExamples:
    are_pairs = {isinstance(item, tuple | list) for item in items}
    if len(are_pairs) > 1:
        raise UserError("Single texts and pairs of texts are mixed. Give the ones or the others.")
    if wrong := [item for item in items if are_pairs == {True} and len(item) != 2]:
        raise UserError(f"A pair is two texts, not {len(wrong[0])}: {str(wrong[0])[:80]}.")
    if ask.pairs is not None and are_pairs and are_pairs != {ask.pairs}:
        raise UserError(
            "The model has learnt pairs of texts. Give both: tuples, or a table with --text-column and --pair-column."
            if ask.pairs
            else "The model has learnt single texts, not pairs. Name the column of the text (--text-column)."
        )
    texts = [(str(item[0]), str(item[1])) if are_pairs == {True} else str(item) for item in items]
    if ask.windows == "always" and are_pairs == {True}:
        raise UserError("Pairs of texts are not read in windows. Leave --windows out.")
    return TextExamples(texts, kept_tokenizer(reader), ask.max_length, targets, ask.windows)


TASK = TextClassification
