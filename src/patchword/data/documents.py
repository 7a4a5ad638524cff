"""Unlabelled text, as a stream of documents."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from patchword.data.columns import Sample, wrong_text
from patchword.data.files import Data, ending, find, hash_of
from patchword.data.tables import CONLL_ENDINGS, TABLE_ENDINGS, Filter, rows
from patchword.data.text_files import reading_text
from patchword.errors import UserError

_BLOCK = 1 << 20  # characters


class Documents:
    """Unlabelled texts, streamed from files in a fixed order; memory does not grow with the corpus.

    A .txt is one document (with `lines`, one on each line that is not empty); one over 2^20 characters comes
    in blocks of at most that, cut at a blank line where there is one, else at a line end. A table has one
    in each row. Texts of nothing but white space are left out.

    Attributes:
        files: what is read, in order.
        notes: what was found out, in sentences for the user.
    """

    def __init__(
        self, data: Data, *, text_column: str | None = None, lines: bool = False, where: str | None = None
    ) -> None:
        found = find(data)
        self.files = list(found)
        self.notes: list[str] = []
        self._column = text_column
        self._lines = lines
        self._where = where
        if found.are_images:
            raise UserError(f"{self.files[0]} is an image; documents are texts.")
        if tagged := [path for path in self.files if ending(path) in CONLL_ENDINGS]:
            raise UserError(f"{tagged[0]} holds words with tags, which are not read as plain text; leave it out.")
        tables = [path for path in self.files if ending(path) in TABLE_ENDINGS]
        if len(tables) < len(self.files) and (where or text_column):
            plain = next(path for path in self.files if path not in tables)
            raise UserError(f"{plain} is not a table, so it has no columns for '{where or text_column}'.")
        if tables:
            sample = Sample.of(tables, Filter(where) if where else None)
            self._column, note = sample.text_column(text_column)
            self.notes.append(note)
        if next(iter(self), None) is None:
            raise UserError(f"There is no text in {data}: all of it is empty or white space.")

    def __iter__(self) -> Iterator[str]:
        where = Filter(self._where) if self._where else None
        for path in self.files:
            for text in self._texts(path, where):
                if text and not text.isspace():
                    yield text
        if where is not None and not where.matched:
            raise where.nothing_matched()

    def _texts(self, path: Path, where: Filter | None) -> Iterator[str]:
        if ending(path) in TABLE_ENDINGS:
            assert self._column is not None
            for number, cells in rows(path, [self._column], where):
                text = cells.get(self._column)
                if text is not None and (problem := wrong_text(text, may_be_empty=True)):
                    raise UserError(f"{path}, row {number}: {problem}.")
                yield text or ""
        elif self._lines:
            yield from (text for _, text in text_lines(path))
        else:
            yield from _blocks(path)

    @cached_property
    def _digest(self) -> str:
        options = repr((self._column, self._lines, self._where))
        return hash_of([options, *(part for path in self.files for part in (ending(path), path))])

    def fingerprint(self) -> str:
        """Hex blake2b of the files' contents and of the options that change what comes out of them."""
        return self._digest

    def size_bytes(self) -> int:
        """Bytes of the files on disk."""
        return sum(path.stat().st_size for path in self.files)


def _blocks(path: Path) -> Iterator[str]:
    """The text in blocks that, joined, are the text again."""
    with reading_text(path) as file:
        rest = ""
        while more := file.read(_BLOCK):
            rest += more
            while len(rest) > _BLOCK:
                cut = rest.rfind("\n\n", _BLOCK // 2, _BLOCK) + 2
                if cut < 2:
                    cut = rest.rfind("\n", _BLOCK // 2, _BLOCK) + 1 or _BLOCK
                yield rest[:cut]
                rest = rest[cut:]
        yield rest


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    with reading_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.strip()
