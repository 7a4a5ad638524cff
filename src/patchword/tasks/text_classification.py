"""A topic, a sentiment, several tags or a number for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from patchword.data.loader import Batch
from patchword.data.sources import Labelled
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.nn.packing import Layout, Packed
from patchword.tasks.classification import Classification, LabelledExamples
from patchword.tasks.task import Ask, Reader, kept_tokenizer


class TextExamples(LabelledExamples):
    """Texts as token ids in the tokenizer's frame ([CLS] before and [SEP] after), cut at `max_length`.

    Args:
        texts: as they are.
        tokenizer: makes the ids.
        max_length: tokens at most, special ones included.
        targets: one a text, where they are known.
    """

    def __init__(
        self, texts: list[str], tokenizer: Tokenizer, max_length: int, targets: np.ndarray | None = None
    ) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.targets = np.zeros(len(texts), np.int64) if targets is None else targets
        self.frame = len(tokenizer.before) + len(tokenizer.after)
        room = max_length - self.frame
        encoded = [ids for start in range(0, len(texts), 1000) for ids in tokenizer.encode(texts[start : start + 1000])]
        if not self.frame:
            # An empty text must be something to a model whose tokenizer puts nothing around it.
            nothing = np.array([tokenizer.id("bos") if tokenizer.has("bos") else tokenizer.pad], np.int32)
            encoded = [ids if len(ids) else nothing for ids in encoded]
        total = sum(map(len, encoded))
        dropped = sum(max(0, len(ids) - room) for ids in encoded)
        self.sequences = Sequences.from_arrays([ids[:room] for ids in encoded])
        self.facts = {"tokens": total, "dropped_tokens": dropped, "padding": 0.0, "max_length": max_length}
        long = sum(len(ids) > room for ids in encoded)
        self.notes = (
            f"{total / max(len(texts), 1):.0f} tokens a text; {dropped / max(total, 1):.1%} of all tokens are cut off "
            f"(texts of over {max_length}: {long:,}). Packed end to end, 0.0 % padding.",
        )

    def __len__(self) -> int:
        return len(self.texts)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, its frame included."""
        return self.sequences.lengths(ids) + self.frame

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids and targets, in the order of `ids`."""
        before, after = (np.array(part, np.int64) for part in (self.tokenizer.before, self.tokenizer.after))
        framed = [part for ids in self.sequences.gather(ids) for part in (before, ids, after)]
        tokens = torch.from_numpy(np.concatenate(framed).astype(np.int64))
        layout = Layout(self.lengths(ids).tolist())
        return Batch((Packed(tokens, layout),), torch.from_numpy(self.targets[ids]), layout.lengths)

    def raw(self) -> Any:
        """The texts."""
        return self.texts


class TextClassification(Classification):
    """Which class (or classes, or number) a text has."""

    name = "text_classification"
    modality = "text"

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> TextExamples:
        """Texts without labels."""
        return TextExamples([str(text) for text in items], kept_tokenizer(reader), ask.max_length)

    @classmethod
    def examples(cls, rows: Labelled, reader: Reader, ask: Ask, targets: np.ndarray | None = None) -> TextExamples:
        """Tokenise the rows' texts."""
        texts = [str(text) for text in rows.inputs]
        return TextExamples(texts, kept_tokenizer(reader), ask.max_length, targets)


TASK = TextClassification
