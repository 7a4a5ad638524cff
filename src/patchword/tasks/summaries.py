"""Documents and their summaries as token ids: read and written apart (encoder-decoders), or in one row (decoders)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchword.data.frames import Frame
from patchword.data.loader import Batch, Examples
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.trunks import shifted
from patchword.nn.packing import Layout, Packed
from patchword.tasks.framed import cut_to

LEAST_ROOM = 8


@dataclass(frozen=True)
class Form:
    """How a document is put to a model.

    Args:
        prefix: text before every document.
        prompt: text between a document and its summary; decoders only.
        max_length: tokens at most that are read, and for a decoder written too.
        max_target_length: tokens of a summary at most, its end included.
    """

    prefix: str
    prompt: str
    max_length: int
    max_target_length: int

    def documents(self, texts: Sequence[str], tokenizer: Tokenizer, one_row: bool) -> tuple[list[np.ndarray], int, int]:
        """Token ids of each document as a model reads it, cut at its end to fit; tokens before the cut, and dropped.

        Args:
            texts: as they are.
            tokenizer: of the model.
            one_row: document, prompt and summary share the room (decoders).

        Raises:
            UserError: no room is left for a document.
        """
        frame = tokenizer.single.without_end() if one_row else tokenizer.single
        prompt = tokenizer.encode([self.prompt])[0] if one_row else np.zeros(0, np.int64)
        start = tokenizer.encode([self.prefix])[0] if self.prefix else ()
        room = self.max_length - len(frame) - len(prompt) - (self.max_target_length if one_row else 0)
        if room - len(start) < LEAST_ROOM:
            raise UserError(
                f"{self.max_length} tokens leave no room for a document beside its prefix, prompt and a summary of "
                f"{self.max_target_length}. Give a longer --max-length or a shorter --max-target-length."
            )
        encoded = tokenizer.encode([self.prefix + text for text in texts])
        dropped = sum(max(0, len(ids) - room) for ids in encoded)
        kept = [np.concatenate([cut_to(ids, room, tokenizer.cuts_left), prompt]) for ids in encoded]
        return [frame.put(ids) for ids in kept], sum(map(len, encoded)), dropped


class SummaryExamples(Examples):
    """Documents with their summaries.

    Args:
        documents, summaries: texts.
        tokenizer: of the model.
        form: how they are put.
        start: the token that a written text begins with; None for a decoder, which goes on from the prompt.
    """

    def __init__(
        self, documents: Sequence[str], summaries: Sequence[str], tokenizer: Tokenizer, form: Form, start: int | None
    ) -> None:
        self.documents, self.summaries, self.start = list(documents), list(summaries), start
        self.sources, self.tokens, self.dropped = form.documents(self.documents, tokenizer, start is None)
        end = (tokenizer.id("eos"),)
        frame = Frame(((), end), ((), (0,)), (0,)) if start is None else tokenizer.single
        room = max(form.max_target_length - len(frame), 1)
        encoded = tokenizer.encode(self.summaries)
        self.cut_summaries = sum(len(ids) > room for ids in encoded)
        self.targets = [frame.put(ids[:room]) for ids in encoded]
        self._lengths = np.array([len(a) + len(b) for a, b in zip(self.sources, self.targets, strict=True)], np.int64)

    def __len__(self) -> int:
        return len(self.documents)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, read and written together."""
        return self._lengths[ids]

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids, and every token of the summaries and their ends to be said; nothing in it is random."""
        sources, targets = [self.sources[i] for i in ids], [self.targets[i] for i in ids]
        lengths = tuple(self._lengths[ids].tolist())
        if self.start is not None:
            read, said = _packed(sources), _packed(targets)
            return Batch((read, shifted(said, self.start)), said.values, lengths, torch.arange(len(said.values)))
        rows = _packed([np.concatenate(pair) for pair in zip(sources, targets, strict=True)])
        asked = [np.repeat([False, True], [len(a), len(b)]) for a, b in zip(sources, targets, strict=True)]
        at = torch.from_numpy(np.flatnonzero(np.concatenate(asked)) - 1)
        return Batch((rows,), rows.values[at + 1], lengths, at)


def _packed(sequences: list[np.ndarray]) -> Packed:
    return Packed(torch.from_numpy(np.concatenate(sequences)), Layout([len(s) for s in sequences]))
