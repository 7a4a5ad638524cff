"""Tables (csv, json, jsonl, parquet, xlsx) as a stream of rows.

A row is `(number, cells)`. The number is what a person finds it by: the line in a .csv or .jsonl (the header
is line 1, a cell over several lines counts from its first), the 1-based row in a .parquet or .json.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from patchword.data.column_names import Row, check_columns, checked_names, number
from patchword.data.delimited import delimited_rows
from patchword.data.json_rows import json_file_rows, jsonl_rows
from patchword.data.names import encodable
from patchword.data.parquet_rows import parquet_file, parquet_rows
from patchword.data.spreadsheets import spreadsheet_rows
from patchword.errors import UserError

CONLL_ENDINGS = (".conll", ".bio", ".iob", ".iob2")
COMMON_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
HEIC_ENDINGS = (".heic", ".heif", ".hif")
IMAGE_ENDINGS = (
    *COMMON_IMAGE_ENDINGS,
    *(".jfif", ".jpe", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo", ".apng", ".dib", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".pfm", ".avifs", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".tga", ".ico", ".icns", ".pcx", ".psd"),
    *(".qoi", ".dds", ".sgi", ".rgb", ".bw", ".ras", ".xbm", ".xpm"),
    *HEIC_ENDINGS,
)
"""All that Pillow decodes; a file with another ending, or none, is an image where its content is one."""
Modality = Literal["text", "image"]

SAMPLE_ROWS = 200


class Filter:
    """`"column=value"`: the rows that are read. Remembers what it saw, to say so when nothing matched."""

    def __init__(self, where: str) -> None:
        self.column, equals, self.value = (part.strip() for part in where.partition("="))
        if not equals or not self.column:
            raise UserError(f"where is written column=value, such as split=train, not '{where}'.")
        self.matched = False
        self._seen: dict[str, None] = {}

    def keep(self, cells: dict[str, Any]) -> bool:
        cell = cells.get(self.column)
        if isinstance(cell, bool):
            same = str(cell).lower() == self.value.lower()
        elif isinstance(cell, int | float):
            same = number(self.value) == cell
        else:
            same = cell is not None and str(cell) == self.value
        self.matched |= same
        if not self.matched and cell is not None and len(self._seen) < 6:
            self._seen.setdefault(str(cell)[:40])
        return same

    def nothing_matched(self) -> UserError:
        if not self._seen:
            return UserError(f"No row has the column '{self.column}' of where '{self.column}={self.value}'.")
        seen = ", ".join(f"'{value}'" for value in self._seen)
        return UserError(f"No row has {self.column} = '{self.value}'; values there are: {seen}.")


class Answers:
    """Annotations that a person rejected or ignored: Prodigy writes so in a column `answer`. They are left out.

    Args:
        tables: that are read.
        used: columns that hold something else for this reader.
    """

    COLUMN = "answer"
    _KNOWN = frozenset({"accept", "reject", "ignore"})

    def __init__(self, tables: Sequence[Path], used: Collection[str]) -> None:
        self._in = {path: self.COLUMN not in used and self.COLUMN in columns(path) for path in tables}
        found = [
            cells.get(self.COLUMN)
            for path in tables
            if self._in[path]
            for _, cells in itertools.islice(rows(path, [self.COLUMN]), SAMPLE_ROWS)
        ]
        if not set(map(str, found)) <= self._KNOWN:
            self._in = dict.fromkeys(tables, False)
        self.left_out = dict.fromkeys(("reject", "ignore"), 0)

    def rows(self, path: Path, wanted: Sequence[str], where: Filter | None) -> Iterator[Row]:
        """The rows of `tables.rows` that were accepted."""
        if not self._in[path]:
            yield from rows(path, wanted, where)
            return
        for row, cells in rows(path, [*wanted, self.COLUMN], where):
            answer = str(cells.get(self.COLUMN))
            if answer in self.left_out:
                self.left_out[answer] += 1
            else:
                yield row, cells

    @property
    def notes(self) -> list[str]:
        """How many rows were left out, after they were read."""
        counts = [f"{count:,} '{answer}'" for answer, count in self.left_out.items() if count]
        return [f"rows left out by their column '{self.COLUMN}': {', '.join(counts)}"] if counts else []


def rows(path: Path, wanted: Sequence[str] | None = None, where: Filter | None = None) -> Iterator[Row]:
    """The rows of one table that pass the filter, streamed.

    `wanted` are the columns needed, all by default; a table without one of them is a UserError. The cells of
    a .jsonl row are those that it has, so look them up with `get`.
    """
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty.")
    if where is not None and wanted is not None:
        wanted = [*wanted, where.column]
    elif where is not None and path.suffix.lower() not in (".jsonl", ".ndjson"):
        check_columns(path, [where.column], columns(path))
    row = None
    for row, cells in _READERS[path.suffix.lower()](path, wanted):
        if where is None or where.keep(cells):
            yield row, cells
    if row is None:
        raise UserError(f"{path} has no rows.")


def columns(path: Path) -> list[str]:
    """The names of the columns; for a .jsonl those of its first 200 lines."""
    if path.suffix.lower() == ".parquet":
        with parquet_file(path) as file:
            return checked_names(path, file.schema_arrow.names)
    found: dict[str, None] = {}
    for _, cells in itertools.islice(rows(path), SAMPLE_ROWS):
        found.update(dict.fromkeys(cells))
    return list(found)


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Row]]] = {
    ".csv": delimited_rows,
    ".tsv": delimited_rows,
    ".json": json_file_rows,
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".parquet": parquet_rows,
    ".xlsx": spreadsheet_rows,
}
TABLE_ENDINGS = tuple(_READERS)


def write_vectors(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    """A .parquet with a row for each input: its name, and its vector as a list of fp32 numbers.

    Args:
        path: of the file; an old one is replaced when the new one is whole.
        names: of the inputs, `[n]`.
        vectors: `[n, width]`.

    Raises:
        UserError: it can not be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    table = pa.table(
        {"input": list(map(encodable, names)), "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    )
    temporary = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(table, temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} can not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
