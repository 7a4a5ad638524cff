"""Tables in text: cells with a comma, semicolon, tab or bar between them, in quotes or not."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from patchword.data.column_names import Row, check_columns, header_of
from patchword.data.text_files import reading_text
from patchword.errors import Notice, UserError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_NAMED_DELIMITER = re.compile("sep=([,;\t|])[\r\n]*")
"""The first line of a .csv for a spreadsheet."""
_WHOLE = re.compile(r'"(?:[^"]|"")*"')
"""A cell in quotes, each quote inside twice."""


@dataclass(frozen=True)
class _Dialect:
    """How a file is written.

    Attributes:
        delimiter: between two cells.
        skipped: lines before the header.
        quoted: whether a cell in quotes can hold delimiters and line ends; if not, a quote is a character like others.
        note: what is to be reported.
    """

    delimiter: str
    skipped: int
    quoted: bool
    note: str = ""


def delimited_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    """The rows of a .csv or .tsv, by the line that they begin on.

    An empty line is a row in a table of one column, as pandas has it with `skip_blank_lines=False`, and else nothing.
    """
    status = path.stat()
    dialect = _dialect(path, status.st_size, status.st_mtime_ns)
    if dialect.note:
        warnings.warn(dialect.note, Notice, stacklevel=2)
    header: list[str] | None = None
    with reading_text(path, newline="") as file:
        for _ in range(dialect.skipped):
            file.readline()
        read = _quoted if dialect.quoted else _plain
        for line, cells in read(path, file, dialect):
            if header is None:
                if cells:
                    header = header_of(path, cells)
                    check_columns(path, wanted, header)
            elif len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            elif not cells:
                if len(header) == 1:
                    yield line, {header[0]: ""}
            else:
                raise UserError(
                    f"{path}, row {line}: {len(cells)} cells, but the header has {len(header)}. A cell that contains "
                    f"{DELIMITERS[dialect.delimiter]}, a quote or a line end must be written in double quotes."
                )


def _quoted(path: Path, file: TextIO, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)  # the default stops at cells of 131,072 characters
    reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
    line = 1 + dialect.skipped
    suspicious = False
    try:
        for cells in reader:
            first, line = line, reader.line_num + 1 + dialect.skipped
            if line - first > 1 and not suspicious and _looks_like_rows(cells, dialect.delimiter):
                suspicious = True
                warnings.warn(
                    f"{path}, row {first}: a cell in quotes spans lines {first} to {line - 1}, which look like rows "
                    "of their own. It is read as one row; if it is several, double the quotes.",
                    Notice,
                    stacklevel=2,
                )
            yield first, cells
    except csv.Error as error:
        raise UserError(
            f"{path}, row {line}: the quotes are not in order ({error}). A cell with quotes in it "
            'is written in double quotes, with each quote inside twice: "she said ""yes""".'
        ) from None


def _looks_like_rows(cells: list[str], delimiter: str) -> bool:
    """Whether a row that spans several lines may be several rows: each line has as many delimiters as a row."""
    if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in cells):  # tabs are rare in texts
        return True
    lines = re.split("\r\n|\r|\n", delimiter.join(cells))
    return len(cells) > 1 and all(line.count(delimiter) == len(cells) - 1 for line in lines)


def _plain(path: Path, file: TextIO, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file, 1 + dialect.skipped):
        line = line.rstrip("\r\n")
        cells = line.split(dialect.delimiter) if line else []
        yield number, [cell[1:-1].replace('""', '"') if _WHOLE.fullmatch(cell) else cell for cell in cells]


@lru_cache(maxsize=256)
def _dialect(path: Path, size: int, changed: int) -> _Dialect:
    """How a file is written, from its first line; for one with tabs, which many tools write without quotes, from all.

    With tabs, quotes are characters like others if every line has as many cells as the header and a cell begins with a
    quote that does not end in it: a line end in a cell would make the line too short.
    """
    with reading_text(path, newline="") as file:
        first = file.readline()
        named = _NAMED_DELIMITER.fullmatch(first)
        skipped = 1 if named else 0
        header = file.readline() if named else first
        delimiter = named[1] if named else _most_cells(header, path)
        if delimiter != "\t" or "\t" not in header:
            return _Dialect(delimiter, skipped, True)
        width = header.count("\t")
        open_quotes = where = 0
        for number, line in enumerate(file, 2 + skipped):
            line = line.rstrip("\r\n")
            if line and line.count("\t") != width:
                return _Dialect(delimiter, skipped, True)
            if '"' in line and any(cell[:1] == '"' and not _WHOLE.fullmatch(cell) for cell in line.split("\t")):
                open_quotes += 1
                where = where or number
    note = (
        f"{path}: quotes are read as characters of the text, since in {open_quotes:,} rows (the first: row {where}) a "
        "cell begins with a quote that does not end there."
    )
    return _Dialect(delimiter, skipped, not open_quotes, note if open_quotes else "")


def _most_cells(line: str, path: Path) -> str:
    """The one of , ; tab | that cuts the header into the most cells; of a .tsv, a tab before the others."""
    order = sorted(DELIMITERS, key=lambda delimiter: delimiter != "\t") if path.suffix.lower() == ".tsv" else DELIMITERS
    return max(order, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))
