"""CoNLL files: a word and its tags on each line, an empty line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from patchword.data.columns import Problems
from patchword.data.text_files import reading_text
from patchword.errors import UserError

_COLUMNS_OF_UD = 10
"""Columns of CoNLL-U (universaldependencies.org/format.html): ID, FORM, LEMMA, UPOS, XPOS, FEATS, ..."""
_UPOS = 4
_BETWEEN = re.compile(r"\d+[-.]\d+")
"""The ID of a line of CoNLL-U that is no word: "1-2" spans two words, "8.1" was left out by the writer."""

Lines = list[tuple[int, str]]


class ConllFile:
    """A CoNLL file, and which of its columns hold words and tags.

    The first line that is no comment decides how all are cut: at tabs if it has one, else at spaces. Other white space,
    such as a no-break space, is part of a word. `-DOCSTART-` lines are left out.

    A line that begins with # before a sentence is a word if it has as many columns as the others and its tag is that of
    another word; else it is a comment. In files with an index column it is a comment always.

    Where the first column counts the words of each sentence, as in CoNLL-U, the words are in the second.

    Args:
        path: of the file.
        column: number of the column with the tags, 1 for the first; where not given UPOS in CoNLL-U, else the last.
        need_tags: if not, a file of words alone is read too; they have no tags.

    Raises:
        UserError: there is no such column, or there are no words.
    """

    def __init__(self, path: Path, column: str | None = None, need_tags: bool = True) -> None:
        self.path = path
        self.width = 0
        self._tabs = self._hash_begins_words = False
        first = next(filter(None, map(self._words_of, self._blocks())), None)
        only_hash = first is None
        first = first or next(self._blocks(), None)
        if first is None:
            raise UserError(f"{path} has no words.")
        self._tabs = "\t" in first[0][1]
        self.width = len(self._cut(first[0][1]))
        if self.width < 2 and need_tags:
            raise UserError(
                f"{path}: the lines have one column; a word and its tag are wanted, with a tab between them."
            )
        self._indexed = self.width > 1 + need_tags and self._counts_words()
        self.word = int(self._indexed)
        self.tag = self._place(column) if self.width > self.word + 1 else None
        self.left_out = {"comments": 0, "multiword tokens and empty nodes": 0}
        """Lines that are not read, after `sentences`."""
        self._tags = {
            cell
            for block in self._blocks()
            for _, line in (block if only_hash else self._words_of(block))
            for cell in (self._cut(line)[self.tag : self.tag + 1] if self.tag is not None else ())
        }
        self._hash_begins_words = not self._indexed

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the file was read, after `sentences`."""
        told = []
        if self._indexed:
            tags = "" if self.tag is None else f", tags in column {self.tag + 1}"
            told.append(f"{self.path.name}: the first column counts words; words are in column 2{tags}")
        told += [
            f"{self.path.name}: {what} that are not read: {count:,}" for what, count in self.left_out.items() if count
        ]
        return told

    def sentences(self) -> Iterator[tuple[int, list[str], list[str]]]:
        """Each sentence: (line of its first word, words, tags).

        Raises:
            UserError: a line has more or fewer columns than the first one, or an empty word or tag.
        """
        wrong = Problems()
        self.left_out = dict.fromkeys(self.left_out, 0)
        for block in self._blocks():
            lines = self._words_of(block)
            self.left_out["comments"] += len(block) - len(lines)
            words: list[str] = []
            tags: list[str] = []
            first = 0
            for number, line in lines:
                cells = self._cut(line)
                if self._indexed and _BETWEEN.fullmatch(cells[0]):
                    self.left_out["multiword tokens and empty nodes"] += 1
                    continue
                wanted = [self.word] if self.tag is None else [self.word, self.tag]
                if len(cells) != self.width:
                    wrong.note(f"{len(cells)} columns, but the first line has {self.width}", self.path, number)
                    continue
                if not all(cells[place].strip() for place in wanted):
                    wrong.note("the word or its tag is empty", self.path, number)
                first = first or number
                words.append(cells[self.word].strip())
                if self.tag is not None:
                    tags.append(cells[self.tag].strip())
            if words:
                yield first, words, tags
        wrong.stop()

    def _blocks(self) -> Iterator[Lines]:
        """The lines of each sentence with their numbers, comments included."""
        block: Lines = []
        with reading_text(self.path) as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip("\r\n")
                if not text.strip() or re.split("[ \t]", text, maxsplit=1)[0] == "-DOCSTART-":
                    if block:
                        yield block
                    block = []
                else:
                    block.append((number, text))
        if block:
            yield block

    def _words_of(self, block: Lines) -> Lines:
        """Without the comments before the first word."""
        for place, (_, line) in enumerate(block):
            if not line.startswith("#") or self._is_word(line):
                return block[place:]
        return []

    def _is_word(self, line: str) -> bool:
        if not self._hash_begins_words:
            return False
        cells = self._cut(line)
        if len(cells) != self.width:
            return False
        return self.tag is None or cells[self.tag] in self._tags

    def _cut(self, line: str) -> list[str]:
        if not self._tabs:
            return re.split("[ \t]+", line.strip(" \t"))
        if "\t" in line:
            return line.split("\t")
        cells = re.split(" +", line.strip(" "))  # one of a few lines whose tabs were lost
        return cells if len(cells) == self.width else [line]

    def _counts_words(self) -> bool:
        """Whether the first column of each sentence is 1, 2, 3, ... or 0, 1, 2, ..."""
        longest = 0
        for block in self._blocks():
            counted = [self._cut(line)[0] for _, line in self._words_of(block)]
            counted = [cell for cell in counted if not _BETWEEN.fullmatch(cell)]
            if not any(counted == [str(i + start) for i in range(len(counted))] for start in (1, 0)):
                return False
            longest = max(longest, len(counted))
        return longest > 1 or self.width == _COLUMNS_OF_UD

    def _place(self, column: str | None) -> int:
        if column is None:
            return (_UPOS if self._indexed and self.width == _COLUMNS_OF_UD else self.width) - 1
        if not column.isdecimal() or not self.word + 2 <= int(column) <= self.width:
            raise UserError(
                f"{self.path}: the columns of a CoNLL file have no names; the one with the tags is given by its "
                f"number, {self.word + 2} to {self.width} here, not '{column}'."
            )
        return int(column) - 1
