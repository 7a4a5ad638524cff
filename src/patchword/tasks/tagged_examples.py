"""Texts as windows of word pieces, in which the first piece of each unit (a word, most often) stands for the unit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchword.checks.findings import SHOWN
from patchword.data.loader import Batch, Examples
from patchword.data.spans import Span, bio, fit
from patchword.data.store import Sequences
from patchword.data.tagged import TaggedText
from patchword.data.tokenizers import Tokenizer
from patchword.data.words import Place, clusters_of, units_of, words_of
from patchword.tasks.framed import framed
from patchword.tasks.tags import entities, respelled, to_bio
from patchword.tasks.windows import windows

OVERLAP = 4
"""Neighbouring windows of a long text share one part in so many, or more."""


@dataclass(frozen=True)
class Document:
    """A text with the units that are tagged, their true tags (None: not known) and the true entities, in characters.

    `came_as_words` says that somebody else cut it into these units. The entities are as they were given, also where
    no tags of units can express them: a score counts those as missed.
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
        word_pieces: whether each word piece of a text that came as a whole is a unit, not each word (`data.words`).

    Attributes:
        spans: how many were given.
        inexact: how many of them do not begin and end where units do, and so can not be predicted exactly.
    """

    def __init__(
        self,
        texts: Sequence[TaggedText],
        tokenizer: Tokenizer,
        max_length: int,
        number: dict[str, int] | None = None,
        marks: bool = True,
        word_pieces: bool = False,
    ) -> None:
        self.marks, self.max_length = marks, max_length
        self.tokenizer = tokenizer
        room = max_length - len(tokenizer.single)
        (first_token,) = tokenizer.single.starts(0)
        self.documents: list[Document] = []
        self.word_pieces = word_pieces
        self.spans = self.inexact = self.repaired = self.pieces = self.long = 0
        self.inexact_in: list[str] = []  # origins of the texts
        ids: list[np.ndarray] = []
        # For each window: the places of first pieces, and the numbers of their words among all words.
        self.places: list[np.ndarray] = []
        self.numbers: list[np.ndarray] = []
        words = 0
        filler = np.array([tokenizer.id("bos") if tokenizer.has("bos") else tokenizer.pad], np.int64)
        for text, encoding in zip(texts, tokenizer.encode_with_places([text.text for text in texts]), strict=True):
            pieces, offsets = encoding[0], _bytes_apart(text.text, encoding[1].tolist())
            if text.words is None:
                pieces, offsets = _unknown_apart(text.text, pieces, offsets, tokenizer, word_pieces)
            units = units_of(text.text, offsets, word_pieces) if text.words is None else list(text.words)
            at, word = _first_pieces(units, offsets)
            document = self._document(text, units, word)
            self.documents.append(document)
            spans = windows(len(pieces), room, room - room // OVERLAP)
            self.pieces += len(pieces)
            self.long += len(spans) > 1
            for (start, end), (first, last) in zip(spans, shared_out(spans), strict=True):
                mine = (at >= first) & (at < last)
                inside = pieces[start:end]
                ids.append(inside if len(inside) + len(tokenizer.single) else filler)
                self.places.append(at[mine] - start + first_token)
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

    def _document(self, text: TaggedText, units: list[Place], with_piece: np.ndarray) -> Document:
        if text.spans is not None:
            runs, inexact = fit(text.spans, units, set(with_piece.tolist()))
            self.spans += len(text.spans)
            self.inexact += len(inexact)
            self.inexact_in += [text.origin] * bool(inexact)
            return Document(text.text, units, bio(runs, len(units)), list(text.spans))
        given = text.words is not None
        if text.tags is None or not self.marks:
            return Document(text.text, units, None if text.tags is None else list(text.tags), [], given)
        tags, repaired = to_bio(text.tags)
        self.repaired += repaired
        marked = [Span(units[a][0], units[b - 1][1], kind) for a, b, kind in entities(tags)]
        return Document(text.text, units, tags, marked, given)

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
        if self.word_pieces:
            notes.append("Many spans begin or end inside a word, so that each token gets a tag, not each word.")
        if self.inexact:
            notes.append(self.inexact_note)
        return notes

    @property
    def inexact_note(self) -> str:
        """How many spans can not be predicted exactly, and where the first ones are."""
        unit = "token" if self.word_pieces else "word"
        return (
            f"Spans that begin or end inside a {unit}: {self.inexact:,} of {self.spans:,} "
            f"({'; '.join(self.inexact_in[:SHOWN])}); widened to the {unit}s that they touch for training, and counted "
            "as missed in scores."
        )

    def __len__(self) -> int:
        return len(self.sequences)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each window, its frame included."""
        return self.sequences.lengths(ids) + len(self.tokenizer.single)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids, and the targets at the first pieces of words."""
        windows = [(window,) for window in self.sequences.gather(ids)]
        packed = framed(self.tokenizer, self.tokenizer.single, windows)
        starts = np.cumsum([0, *packed.layout.lengths])
        at = np.concatenate([self.places[i] + start for i, start in zip(ids, starts, strict=False)])
        targets = self.targets[self.word_numbers(ids)]
        return Batch((packed,), torch.from_numpy(targets), packed.layout.lengths, torch.from_numpy(at))

    def word_numbers(self, ids: np.ndarray) -> np.ndarray:
        """Which words, among all, the targets of a batch belong to, `[n]`."""
        return np.concatenate([self.numbers[i] for i in ids])

    def by_document(self, values: np.ndarray) -> list[np.ndarray]:
        """What is known of every word, cut into documents."""
        return np.split(values, self.ends[1:-1])


def _bytes_apart(text: str, offsets: Sequence[Sequence[int]]) -> list[Place]:
    """Places of word pieces; a run of single bytes, of which each has the place of all, by its characters."""
    out: list[Place] = []
    for (start, end), run in itertools.groupby(map(tuple, offsets)):
        places = [(start, end)] * len(list(run))
        if len(places) > 1 and end - start > 1:
            of_bytes = [(at, at + 1) for at in range(start, end) for _ in text[at].encode("utf-8", "replace")]
            places = of_bytes if len(of_bytes) == len(places) else places
        out += places
    return out


def _unknown_apart(
    text: str, pieces: np.ndarray, offsets: list[Place], tokenizer: Tokenizer, word_pieces: bool
) -> tuple[np.ndarray, list[Place]]:
    """Word pieces in which an unknown token that stands for several units is encoded unit by unit.

    WordPiece gives one [UNK] to a run of letters that holds one unknown letter or more than 100: without spaces
    between words to a whole clause, in which no entity would have a token of its own.
    """
    if not tokenizer.has("unk"):
        return pieces, offsets
    unknown = np.flatnonzero(pieces == tokenizer.id("unk"))
    cut = clusters_of if word_pieces else words_of
    parts = {int(at): cut(text[slice(*offsets[at])]) for at in unknown if offsets[at][1] - offsets[at][0] > 1}
    parts = {at: places for at, places in parts.items() if len(places) > 1}
    if not parts:
        return pieces, offsets
    ids: list[np.ndarray] = []
    out: list[Place] = []
    for at, place in enumerate(offsets):
        if at not in parts:
            ids.append(pieces[at : at + 1])
            out.append(place)
            continue
        starts = [place[0] + start for start, _ in parts[at]]
        texts = [text[place[0] + start : place[0] + end] for start, end in parts[at]]
        for first, (some, places) in zip(starts, tokenizer.encode_with_places(texts), strict=True):
            ids.append(some)
            out += [(first + int(start), first + int(end)) for start, end in places]
    return np.concatenate(ids), out


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
