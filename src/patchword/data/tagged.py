"""Texts whose words have tags: CoNLL files, tables of words and tags, or tables of texts and marked spans."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from patchword.data.columns import Problems, Sample, wrong_text, wrong_words
from patchword.data.conll import ConllFile
from patchword.data.files import Data, ending, find, hash_of, items_of
from patchword.data.spans import CHARACTERS, Span, Unit, looks_like_spans, read_spans, unit_of
from patchword.data.split_names import refuse_mixed_splits
from patchword.data.tables import CONLL_ENDINGS, SAMPLE_ROWS, TABLE_ENDINGS, Answers, Filter, rows
from patchword.data.word_rows import WordColumns, word_columns, word_sentences
from patchword.errors import UserError

_WORDS = ("tokens", "words", "token", "word")
_TAGS = ("ner_tags", "tags", "labels", "ner", "pos_tags", "upos", "label", "tag")
_SPANS = ("spans", "entities", "ents", "labels", "label")


@dataclass(frozen=True)
class TaggedText:
    """One sentence or document.

    Args:
        text: words that came one by one are joined by spaces.
        words: (start, end) of each in the text; None where the text came as a whole.
        tags: one a word, as they are in the file; None where not known.
        spans: the marked parts, in their order; None where not known.
        origin: file and row.
    """

    text: str
    words: tuple[tuple[int, int], ...] | None = None
    tags: tuple[str, ...] | None = None
    spans: tuple[Span, ...] | None = None
    origin: str = ""

    @property
    def kinds(self) -> set[str]:
        """The kinds of entity, or the tags, that stand in it."""
        tags = {re.sub("^[BIESLU]-", "", tag) for tag in set(self.tags or ())} - {"O"}
        return tags | {span.label for span in self.spans or ()}

    @classmethod
    def of_words(cls, words: Sequence[str], tags: Sequence[str] | None = None, origin: str = "") -> TaggedText:
        """Words with a space between them."""
        ends = list(itertools.accumulate(len(word) + 1 for word in words))
        places = tuple((end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True))
        return cls(" ".join(words), places, None if tags is None else tuple(tags), None, origin)


@dataclass(frozen=True)
class Tagged:
    """Texts with their tags, and what was found out on the way, as `sources.Labelled` has it."""

    texts: list[TaggedText]
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def inputs(self) -> list[str]:
        """The texts without their tags."""
        return [text.text for text in self.texts]

    @property
    def origins(self) -> list[str]:
        """File and row of each."""
        return [text.origin for text in self.texts]

    def subset(self, ids: Iterable[int]) -> Tagged:
        """The texts with these numbers."""
        ids = [int(i) for i in ids]
        return replace(self, texts=[self.texts[i] for i in ids], fingerprint=hash_of([self.fingerprint, repr(ids)]))


class Columns(NamedTuple):
    """Which columns of a table hold the input and the tags, and whether these are spans of a text."""

    input: str
    tags: str
    spans: bool


def find_columns(tables: Sequence[Path], text: str | None, tags: str | None, where: Filter | None) -> Columns | None:
    """The columns with words and tags, or with texts and spans, by their names and first rows; None: there are none."""
    cells = [cells for path in tables for _, cells in itertools.islice(rows(path, None, where), SAMPLE_ROWS)]
    names = list(dict.fromkeys(name for row in cells for name in row))
    by_lower = {name.lower(): name for name in reversed(names)}

    def known(given: str | None, usual: Sequence[str]) -> list[str]:
        return [given] if given else [by_lower[name] for name in usual if name in by_lower]

    for word in known(text, _WORDS):
        for tag in known(tags, _TAGS):
            there = [(row[word], row[tag]) for row in cells if row.get(word) and row.get(tag)]
            if there and word != tag and all(map(_are_words_and_tags, *zip(*there, strict=True))):
                return Columns(word, tag, False)
    for tag in known(tags, _SPANS):
        if any(looks_like_spans(row.get(tag)) for row in cells):
            sample = Sample(str(tables[0]), [name for name in names if name != tag], cells)
            return Columns(sample.text_column(text, not_this=tag)[0], tag, True)
    return None


def _are_words_and_tags(words: Any, tags: Any) -> bool:
    if not isinstance(words, list) or not isinstance(tags, list) or looks_like_spans(tags):
        return False
    return all(isinstance(word, str) for word in words)


def holds_tags(data: Data) -> bool:
    """Whether files hold words with tags."""
    found = list(find(data))
    if any(ending(path) in CONLL_ENDINGS for path in found):
        return True
    tables = [path for path in found if ending(path) in TABLE_ENDINGS]
    if not tables:
        return False
    by_word = word_columns(Sample.of(tables).columns)
    return (by_word is not None and by_word.tag is not None) or find_columns(tables, None, None, None) is not None


def read_tagged(
    data: Data, *, text_column: str | None = None, label_column: str | None = None, where: str | None = None
) -> Tagged:
    """Read sentences or documents with their tags.

    Args:
        data: CoNLL files, or tables: a row for each text (.jsonl, .parquet), or for each word with its sentence.
        text_column: of a table: the words (lists) or the texts, or the word.
        label_column: the tags (lists) or the spans, or the tag; of a CoNLL file, the column's number.
        where: "column=value": only such rows of a table.

    Raises:
        UserError: something is wrong with the data; the message says in which file and row.
    """
    found = find(data)
    refuse_mixed_splits(found, items_of(data), where)
    if all(ending(path) in CONLL_ENDINGS for path in found):
        if asked := text_column or where:
            raise UserError(f"{next(iter(found))} is not a table, so it has no columns for '{asked}'.")
        files = [ConllFile(path, label_column) for path in found]
        read = [
            TaggedText.of_words(words, tags, f"{file.path.name}, row {line}")
            for file in files
            for line, words, tags in file.sentences()
        ]
        if len({(file.word, file.tag) for file in files}) > 1:
            told = ", ".join(f"{file.path.name} {file.width}" for file in files)
            raise UserError(f"The files have different columns ({told}). Give those of one kind.")
        notes = [note for file in files for note in file.notes]
        return Tagged(read, {"label": label_column or "last"}, notes, hash_of([f"conll {label_column}", *found]))
    for path in found:
        if ending(path) not in TABLE_ENDINGS:
            raise UserError(
                f"{path} holds no words with tags, or other kinds of files stand beside it. Give CoNLL files "
                f"({', '.join(CONLL_ENDINGS)}), or tables with lists of words and tags, or with texts and spans."
            )
    return _read_tables(list(found), text_column, label_column, where)


def _read_tables(tables: list[Path], text_column: str | None, label_column: str | None, where: str | None) -> Tagged:
    kept = Filter(where) if where else None
    by_word = word_columns(Sample.of(tables, kept).columns, text_column, label_column)
    if by_word is not None and by_word.tag is not None:
        return _read_word_rows(tables, by_word, where)
    columns = find_columns(tables, text_column, label_column, kept)
    if kept is not None and not kept.matched:
        raise kept.nothing_matched()
    if columns is None:
        named = f" in '{text_column or '?'}' and '{label_column or '?'}'" if text_column or label_column else ""
        raise UserError(
            f"{tables[0]}: no words with tags were found{named}. A row has a list of words and one of tags "
            '({"tokens": ["in", "Rome"], "tags": ["O", "B-PLACE"]}), or a text and its spans '
            '({"text": "in Rome", "spans": [{"start": 3, "end": 7, "label": "PLACE"}]}); or a row is a word, in the '
            "columns sentence, word and tag."
        )
    wrong = Problems()
    texts: list[TaggedText] = []
    answers = Answers(tables, columns[:2])
    read = [
        (path, number, cells.get(columns.input), cells.get(columns.tags))
        for path in tables
        for number, cells in answers.rows(path, columns[:2], kept)
    ]
    unit = unit_of((marks, given) for *_, given, marks in read) if columns.spans else CHARACTERS
    for path, number, given, marks in read:
        row = _row(given, marks, columns.spans, unit, f"{path.name}, row {number}")
        if isinstance(row, str):
            wrong.note(row, path, number)
        else:
            texts.append(row)
    wrong.stop()
    kind = "spans" if columns.spans else "tags"
    notes = [f"{'texts' if columns.spans else 'words'}: column '{columns.input}'; {kind}: column '{columns.tags}'"]
    if unit != CHARACTERS:
        notes.append(f"the starts and ends of the spans count {unit}, as their own texts show; they are converted")
    notes += answers.notes
    used = {"text": columns.input, "label": columns.tags}
    return Tagged(texts, used, notes, hash_of([repr((used, where)), *tables]))


def _read_word_rows(tables: list[Path], columns: WordColumns, where: str | None) -> Tagged:
    texts = [
        TaggedText.of_words(words, tags, f"{path.name}, row {first}")
        for path in tables
        for first, words, tags in word_sentences(path, columns, Filter(where) if where else None)
    ]
    notes = [f"a word in each row: column '{columns.word}'; tags: '{columns.tag}'; sentences: '{columns.sentence}'"]
    used = {"text": columns.word, "label": str(columns.tag)}
    return Tagged(texts, used, notes, hash_of([repr((columns, where)), *tables]))


def _row(given: Any, marks: Any, spans: bool, unit: Unit, origin: str) -> TaggedText | str:
    """One row of a table, or what is wrong with it."""
    if spans:
        if problem := wrong_text(given):
            return problem
        found = read_spans(marks, given, unit)
        return found if isinstance(found, str) else TaggedText(given, None, None, tuple(found), origin)
    if not isinstance(given, list) or not given:
        return "there is no list of words"
    if problem := wrong_words(given):
        return problem
    if not isinstance(marks, list) or len(marks) != len(given):
        count = f"{len(marks)} tags" if isinstance(marks, list) else "no list of tags"
        return f"{len(given)} words, but {count}; there must be one tag for each word"
    if not all(isinstance(tag, str | int) and str(tag).strip() for tag in marks):
        return f"the tags {str(marks)[:60]} are not all texts"
    return TaggedText.of_words(given, [str(tag).strip() for tag in marks], origin)
