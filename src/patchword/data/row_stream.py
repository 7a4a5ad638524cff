"""Rows without labels as a stream, whatever they stand in: tables with all their columns, lines of text, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchword.data.columns import Problems, Sample, wrong_text, wrong_words
from patchword.data.conll import ConllFile
from patchword.data.documents import text_lines
from patchword.data.files import Data, ending, find, hash_of
from patchword.data.images import image_in_cell
from patchword.data.names import shown_path
from patchword.data.parquet_rows import arrow_types
from patchword.data.row_file import kind_of
from patchword.data.tables import CONLL_ENDINGS, TABLE_ENDINGS, Filter, Modality, rows
from patchword.errors import UserError


@dataclass(frozen=True)
class StreamedRow:
    """One row: the file and the number that a person finds it by (0: the file itself), and its cells."""

    file: Path
    number: int
    cells: dict[str, Any]

    def __str__(self) -> str:
        file = shown_path(self.file)
        return f"{file}, row {self.number}" if self.number else file


@dataclass(frozen=True)
class Contents:
    """What going through all rows once has shown.

    Attributes:
        rows: how many there are.
        kinds: the types of the cells that are there, by column, in the order of the columns.
        empty_lines: of plain texts, which are no rows.
    """

    rows: int
    kinds: dict[str, set[type]]
    empty_lines: int = 0


class RowStream:
    """The rows of files, or sentences, one after the other; memory does not grow with them.

    Args:
        data: files, folders or patterns: tables, plain texts (a text on each line, column `text`), CoNLL files (a
            sentence each, column `tokens`, and `tags` where there are any), or pictures (column `image`, the path).
        where: "column=value": only such rows of tables.

    Raises:
        UserError: there is nothing to read, tables and plain texts are mixed, or a condition on what has no columns.
    """

    def __init__(self, data: Data, where: str | None = None) -> None:
        found = find(data)
        self.files = list(found)
        self.where = where
        endings = {ending(path) for path in self.files}
        self.are_images = found.are_images
        self.are_tables = endings <= set(TABLE_ENDINGS)
        self.are_words = endings <= set(CONLL_ENDINGS)
        if not (self.are_images or self.are_tables or self.are_words) and endings & {*TABLE_ENDINGS, *CONLL_ENDINGS}:
            raise UserError(f"Plain text, CoNLL files or tables are mixed in {data}. Give one of them.")
        if where and not self.are_tables:
            raise UserError(f"{self.files[0]} is not a table, so it has no columns for '{where}'.")

    def __iter__(self) -> Iterator[StreamedRow]:
        kept = Filter(self.where) if self.where else None
        for path in self.files:
            if self.are_tables:
                for number, cells in rows(path, None, kept):
                    yield StreamedRow(path, number, cells)
            elif self.are_images:
                yield StreamedRow(path, 0, {"image": path})
            elif self.are_words:
                for number, words, tags in ConllFile(path, need_tags=False).sentences():
                    yield StreamedRow(path, number, {"tokens": words} | ({"tags": tags} if tags else {}))
            else:
                for number, text in text_lines(path):
                    yield StreamedRow(path, number, {"text": text})
        if kept is not None and not kept.matched:
            raise kept.nothing_matched()

    def sample(self) -> Sample:
        """The first rows, to tell the columns from."""
        if self.are_tables:
            return Sample.of(self.files, Filter(self.where) if self.where else None)
        if self.are_words:
            return Sample(str(self.files[0]), ["tokens"], [{"tokens": ["text"]}])
        name = "image" if self.are_images else "text"
        return Sample(str(self.files[0]), [name], [{name: "picture.png" if self.are_images else "text"}])

    def item(self, row: StreamedRow, columns: Sequence[str], modality: Modality, words: bool = False) -> Any:
        """What a model reads of a row: the cell of the column, or a tuple of those of several.

        Args:
            row: one of these.
            columns: that are read.
            modality: of the model.
            words: whether a cell can be a list of words as well.

        Raises:
            UserError: it is no text, an empty one, or no picture; what is wrong, without the place.
        """
        cells = [row.cells.get(column) for column in columns]
        if modality == "image":
            folder = row.file.parent if self.are_tables else Path()
            cells = [image_in_cell(cell, folder) for cell in cells]
            if None in cells:
                raise UserError("no image (neither bytes nor a path)")
            if missing := [cell for cell in cells if isinstance(cell, Path) and not cell.is_file()]:
                raise UserError(f"there is no image file {shown_path(missing[0])}")
        else:
            for column, cell in zip(columns, cells, strict=True):
                if problem := wrong_words(cell) if words and isinstance(cell, list) else wrong_text(cell):
                    raise UserError(problem if len(columns) == 1 else f"{problem} (column '{column}')")
        return cells[0] if len(cells) == 1 else tuple(cells)

    def look_through(self, columns: Sequence[str], modality: Modality, skip_bad: bool, words: bool = False) -> Contents:
        """Go through all rows once, so that what is wrong at the end is told at the beginning.

        Raises:
            UserError: a file is malformed; or, without `skip_bad`, a row has no input that can be read.
        """
        kinds: dict[str, set[type]] = {}
        wrong = Problems()
        count = 0
        lines: dict[Path, int] = {}
        for row in self:
            count += 1
            lines[row.file] = row.number
            for name, cell in row.cells.items():
                kinds.setdefault(name, set()).add(kind_of(cell))
            if not skip_bad:
                try:
                    self.item(row, columns, modality, words)
                except UserError as error:
                    wrong.note(str(error), row.file, row.number)
        if not count:
            raise UserError(f"There is nothing to predict in {', '.join(map(str, self.files[:5]))}.")
        if wrong.count:
            raise wrong.error("--skip-bad (skip_bad=True) leaves such rows without a prediction.")
        are_lines = not (self.are_tables or self.are_images or self.are_words)
        empty = sum(lines.values()) - count if are_lines else 0
        return Contents(count, {name: found - {type(None)} for name, found in kinds.items()}, empty)

    def arrow_type(self, name: str) -> Any:
        """The type of a column in the parquet files; None where there are other files, or several types."""
        if not all(ending(path) == ".parquet" for path in self.files):
            return None
        first, *others = (arrow_types(path).get(name) for path in self.files)
        return first if all(other == first for other in others) else None

    def fingerprint(self, image_columns: Sequence[str] = ()) -> str:
        """Changes with the rows that are read, and with the contents of images, whatever their times and sizes.

        Args:
            image_columns: of tables, those that name images.
        """
        return hash_of(self._marks(image_columns))

    def _marks(self, image_columns: Sequence[str]) -> Iterator[str | Path]:
        yield str(self.where)
        for path in self.files:
            yield from (str(path), path) if self.are_images else (path,)
        for row in self if self.are_tables and image_columns else ():
            for column in image_columns:
                image = image_in_cell(row.cells.get(column), row.file.parent)
                if isinstance(image, Path):
                    yield image if image.is_file() else f"no {image}"
