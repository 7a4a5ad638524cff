"""A topic, a sentiment, several tags or a number for each text, or for each pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from patchword.data.columns import Sample
from patchword.data.loader import Batch
from patchword.data.sources import Labelled
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.nn.packing import Layout, Packed
from patchword.tasks.classification import Classification, LabelledExamples
from patchword.tasks.task import Ask, Reader, kept_tokenizer

Text = str | tuple[str, str]


class TextExamples(LabelledExamples):
    """Texts as token ids in the tokenizer's frame ([CLS] before and [SEP] after), cut at `max_length`.

    Args:
        texts: as they are; each a text, or each a pair of them.
        tokenizer: makes the ids.
        max_length: tokens at most, special ones included. Of a pair the longer text is cut first.
        targets: one a text, where they are known.

    Attributes:
        cut: how many of the texts are not read to their end.
    """

    def __init__(
        self, texts: Sequence[Text], tokenizer: Tokenizer, max_length: int, targets: np.ndarray | None = None
    ) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.targets = np.zeros(len(texts), np.int64) if targets is None else targets
        self.pairs = any(isinstance(text, tuple) for text in texts)
        encoded = [_encoded([text[i] for text in texts], tokenizer) for i in range(2)] if self.pairs else []
        encoded = encoded or [_encoded(texts, tokenizer)]
        self.frame = tokenizer.pair_frame if self.pairs else len(tokenizer.before) + len(tokenizer.after)
        if not self.frame:
            # An empty text must be something to a model whose tokenizer puts nothing around it.
            nothing = np.array([tokenizer.id("bos") if tokenizer.has("bos") else tokenizer.pad], np.int32)
            encoded = [[ids if len(ids) else nothing for ids in encoded[0]]]
        lengths = np.array([[len(ids) for ids in side] for side in encoded], np.int64).reshape(len(encoded), -1)
        kept = _longest_first(lengths, max_length - self.frame)
        self.parts = [
            Sequences.from_arrays([ids[:n] for ids, n in zip(side, most, strict=True)])
            for side, most in zip(encoded, kept, strict=True)
        ]
        total, dropped = int(lengths.sum()), int((lengths - kept).sum())
        self.cut = int((lengths > kept).any(0).sum())
        self.facts = {"tokens": total, "dropped_tokens": dropped, "padding": 0.0, "max_length": max_length}
        self.notes = (
            f"{total / max(len(texts), 1):.0f} tokens a {self.kind}; {dropped / max(total, 1):.1%} of all tokens are "
            f"cut off ({self.kind}s of over {max_length}: {self.cut:,}). Packed end to end, 0.0 % padding.",
        )

    @property
    def kind(self) -> str:
        """What an example is called."""
        return "pair" if self.pairs else "text"

    def __len__(self) -> int:
        return len(self.texts)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, its frame included."""
        return sum((part.lengths(ids) for part in self.parts), np.full(len(ids), self.frame))

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids (and segments of pairs) and targets, in the order of `ids`."""
        layout = Layout(self.lengths(ids).tolist())
        texts = zip(*(part.gather(ids) for part in self.parts), strict=True)
        before, after = self.tokenizer.before, self.tokenizer.after
        segments = None
        if self.pairs:
            counts = zip(*(part.lengths(ids) for part in self.parts), strict=True)
            segments = torch.from_numpy(np.concatenate([self.tokenizer.segments(*pair) for pair in counts]))
            framed = [self.tokenizer.pair(*pair) for pair in texts]
        else:
            framed = [np.concatenate([before, text, after]) for (text,) in texts]
        tokens = torch.from_numpy(np.concatenate(framed).astype(np.int64))
        packed = Packed(tokens, layout, segments=segments)
        return Batch((packed,), torch.from_numpy(self.targets[ids]), layout.lengths)

    def raw(self) -> Any:
        """The texts, or the pairs."""
        return self.texts


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

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """One column, or the two of a pair."""
        pair = sample.pair_columns(ask.text_column, ask.pair_column)
        return super().input_columns(sample, ask) if pair is None else pair[:2]

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> TextExamples:
        """Texts, or pairs of them, without labels."""
        return _examples(items, reader, ask)

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> TextExamples:
        """Tokenise the rows' texts."""
        return _examples(rows.inputs, reader, ask, targets)


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
    return TextExamples(texts, kept_tokenizer(reader), ask.max_length, targets)


TASK = TextClassification
