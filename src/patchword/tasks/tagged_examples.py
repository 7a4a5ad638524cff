"""Texts as windows of word pieces, in which the first piece of each word stands for the word."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchword.checks.findings import SHOWN
from patchword.data.loader import Batch, Examples
from patchword.data.spans import Span, tags_of, widened, words_of
from patchword.data.store import Sequences
from patchword.data.tagged import TaggedText
from patchword.data.tokenizers import Tokenizer
from patchword.nn.packing import Layout, Packed
from patchword.tasks.tags import entities, respelled, to_bio
from patchword.tasks.windows import windows

OVERLAP = 4
"""Neighbouring windows of a long text share one part in so many, or more."""


@dataclass(frozen=True)
class Document:
    """A text with the words that are tagged, the true tags (None: not known) and the true entities, in characters.

    `came_as_words` says that somebody else cut it into these words.
    """

    text: str
    words: list[tuple[int, int]]
    tags: list[str] | None
    entities: list[Span]
    came_as_words: bool = False


def shared_out(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(first, last + 1) of the pieces that each window of a text answers for.

    Every piece is answered for once, by the window in which it is farthest from a cut end.

    Args:
        spans: (start, end) of the windows, as `windows` gives them.
    """
    meets = [(one[1] + two[0]) // 2 for one, two in itertools.pairwise(spans)]
    return list(zip([0, *meets], [*meets, spans[-1][1]], strict=True))


class TaggedExamples(Examples):
    """Windows of word pieces in the tokenizer's frame; an example is a window.

    Args:
        texts: with or without tags.
        tokenizer: makes the ids.
        max_length: tokens of a window at most, special ones included.
        number: class of each tag, where tags are known.
        marks: whether tags mark entities, as B-X and I-X do.
        cut: whether words of a text that came as a whole are cut where its spans begin and end, so that the model can
            learn these places; what is predicted comes without.
    """

    def __init__(
        self,
        texts: Sequence[TaggedText],
        tokenizer: Tokenizer,
        max_length: int,
        number: dict[str, int] | None = None,
        marks: bool = True,
        cut: bool = False,
    ) -> None:
        self.marks, self.max_length = marks, max_length
        self.before, self.after = (np.array(part, np.int64) for part in (tokenizer.before, tokenizer.after))
        room = max_length - len(self.before) - len(self.after)
        self.documents: list[Document] = []
        self.widened = self.repaired = self.pieces = self.long = 0
        self.widened_in: list[str] = []  # origins of the texts
        ids: list[np.ndarray] = []
        # For each window: the places of first pieces, and the numbers of their words among all words.
        self.places: list[np.ndarray] = []
        self.numbers: list[np.ndarray] = []
        words = 0
        filler = np.array([tokenizer.id("bos") if tokenizer.has("bos") else tokenizer.pad], np.int64)
        for text, encoding in zip(texts, tokenizer.encode_with_places([text.text for text in texts]), strict=True):
            pieces, offsets = encoding[0], [(int(start), int(end)) for start, end in encoding[1]]
            document = self._document(text, offsets, cut)
            self.documents.append(document)
            at, word = _first_pieces(document.words, offsets)
            spans = windows(len(pieces), room, room - room // OVERLAP)
            self.pieces += len(pieces)
            self.long += len(spans) > 1
            for (start, end), (first, last) in zip(spans, shared_out(spans), strict=True):
                mine = (at >= first) & (at < last)
                inside = pieces[start:end]
                ids.append(inside if len(inside) + len(self.before) + len(self.after) else filler)
                self.places.append(at[mine] - start + len(self.before))
                self.numbers.append(word[mine] + words)
            words += len(document.words)
        self.sequences = Sequences.from_arrays(ids)
        self.words = words
        self.ends = np.cumsum([0, *(len(document.words) for document in self.documents)])
        spell = number if number and marks else ()
        tags = [
            tag for document in self.documents for tag in respelled(document.tags or ["O"] * len(document.words), spell)
        ]
        self.targets = np.array([number[tag] if number else 0 for tag in tags], np.int64)

    def _document(self, text: TaggedText, offsets: list[tuple[int, int]], cut: bool) -> Document:
        if text.words is not None:
            words = list(text.words)
            if text.tags is None:
                return Document(text.text, words, None, [], True)
            if not self.marks:
                return Document(text.text, words, list(text.tags), [], True)
            tags, repaired = to_bio(text.tags)
            self.repaired += repaired
            marked = [Span(words[a][0], words[b - 1][1], kind) for a, b, kind in entities(tags)]
            return Document(text.text, words, tags, marked, True)
        if text.spans is None:
            return Document(text.text, words_of(text.text), None, [])
        if not cut:
            words = words_of(text.text)
            return Document(text.text, words, tags_of(words, text.spans), list(text.spans))
        spans, changed = widened(text.spans, offsets)
        self.widened += changed
        self.widened_in += [text.origin] * (changed > 0)
        words = words_of(text.text, (place for span in spans for place in span[:2]))
        return Document(text.text, words, tags_of(words, spans), spans)

    @property
    def notes(self) -> list[str]:
        """What was done to the texts, in sentences for the person."""
        notes = [
            f"{self.pieces:,} tokens in {len(self):,} windows of at most {self.max_length}; longer texts "
            f"({self.long:,}) are read in windows that overlap, and nothing is cut off."
        ]
        if self.repaired:
            notes.append(
                f"Entities that begin with I- after something else: {self.repaired:,}; read as beginning there (IOB1)."
            )
        if self.widened:
            notes.append(
                f"Spans that begin or end inside a token: {self.widened:,} ({'; '.join(self.widened_in[:SHOWN])}); "
                "widened to the tokens that they touch."
            )
        return notes

    def __len__(self) -> int:
        return len(self.sequences)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each window, its frame included."""
        return self.sequences.lengths(ids) + len(self.before) + len(self.after)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids, and the targets at the first pieces of words."""
        framed = [part for window in self.sequences.gather(ids) for part in (self.before, window, self.after)]
        layout = Layout(self.lengths(ids).tolist())
        starts = np.cumsum([0, *layout.lengths])
        at = np.concatenate([self.places[i] + start for i, start in zip(ids, starts, strict=False)])
        targets = self.targets[self.word_numbers(ids)]
        tokens = torch.from_numpy(np.concatenate(framed).astype(np.int64))
        return Batch((Packed(tokens, layout),), torch.from_numpy(targets), layout.lengths, torch.from_numpy(at))

    def word_numbers(self, ids: np.ndarray) -> np.ndarray:
        """Which words, among all, the targets of a batch belong to, `[n]`."""
        return np.concatenate([self.numbers[i] for i in ids])

    def by_document(self, values: np.ndarray) -> list[np.ndarray]:
        """What is known of every word, cut into documents."""
        return np.split(values, self.ends[1:-1])


def _first_pieces(
    words: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The first piece of each word that has one of its own: (places of the pieces, numbers of the words)."""
    at: list[int] = []
    number: list[int] = []
    word = 0
    for place, (start, end) in enumerate(offsets):
        while word < len(words) and words[word][1] <= start:
            word += 1
        if word < len(words) and words[word][0] < end:
            at.append(place)
            number.append(word)
            word += 1
    return np.array(at, np.int64), np.array(number, np.int64)
