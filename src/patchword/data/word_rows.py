"""Tables with a word and its tag in each row, and a column that says which sentence it is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from patchword.data.columns import Problems, wrong_text
from patchword.data.tables import Filter, rows

_SENTENCE = ("sentence", "sentence_id", "sentence id", "sentence #", "sentence_number", "sentence_idx", "sent_id")
_WORD = ("word", "token", "words", "tokens")
_TAG = ("tag", "ner_tag", "ner", "tags", "ner_tags", "label", "labels", "upos", "pos")


class WordColumns(NamedTuple):
    """The columns of such a table; no tag where there is none."""

    sentence: str
    word: str
    tag: str | None


def word_columns(names: Sequence[str], word: str | None = None, tag: str | None = None) -> WordColumns | None:
    """The columns of a table with a word in each row, by their names; None for another kind of table.

    Args:
        names: of the columns.
        word, tag: those that a person named.
    """
    by_lower = {name.lower().strip(): name for name in reversed(names)}

    def known(given: str | None, usual: Sequence[str]) -> str | None:
        if given is not None:
            return given if given in names else None
        return next((by_lower[name] for name in usual if name in by_lower), None)

    sentence, word = known(None, _SENTENCE), known(word, _WORD)
    return None if sentence is None or word is None else WordColumns(sentence, word, known(tag, _TAG))


def word_sentences(
    path: Path, columns: WordColumns, where: Filter | None = None
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each sentence: (row of its first word, words, tags). A row that names no sentence goes on with the one before.

    Args:
        path: of the table.
        columns: of it.
        where: which rows are read.

    Raises:
        UserError: a row without a word or a tag, or rows of a sentence that do not stand together.
    """
    wrong = Problems()
    wanted = [name for name in columns if name is not None]
    seen: set[str] = set()
    sentence, first = "", 0
    words: list[str] = []
    tags: list[str] = []
    for number, cells in rows(path, wanted, where):
        cell = cells.get(columns.sentence)
        name = sentence if cell is None else str(cell).strip() or sentence
        if name != sentence or not words:
            if words:
                yield first, words, tags
            if name in seen:
                wrong.note(f"the sentence '{name[:40]}' has ended before; its rows must stand together", path, number)
            seen.add(name)
            sentence, first, words, tags = name, number, [], []
        for column, kept in ((columns.word, words), (columns.tag, tags)):
            if column is None:
                continue
            cell = cells.get(column)
            cell = str(cell) if isinstance(cell, int) else cell
            if problem := wrong_text(cell):
                wrong.note(f"column '{column}': {problem}", path, number)
            kept.append(str(cell).strip())
    if words:
        yield first, words, tags
    wrong.stop()
