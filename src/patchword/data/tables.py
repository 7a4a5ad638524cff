"""Tables (csv, json, jsonl, parquet) as a stream of rows.

A row is `(number, cells)`. The number is what a person finds it by: the line in a .csv or .jsonl (the header
is line 1, a cell over several lines counts from its first), the 1-based row in a .parquet or .json.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from patchword.data.json_rows import json_rows
from patchword.errors import UserError, did_you_mean

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
Row = tuple[int, dict[str, Any]]

SAMPLE_ROWS = 200
_BATCH_BYTES = 8 << 20  # of a parquet file in memory at a time


@contextmanager
def reading_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """The file open as UTF-8 (with or without a byte order mark); what can not be read is a UserError."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except OSError as error:
        raise UserError(f"{path} can not be read: {error.strerror or error}.") from None


def _not_utf8(path: Path) -> UserError:
    """Where the first wrong byte stands, found by going through the bytes once more, a line at a time."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                kind = " (it begins like UTF-16)" if line[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
                return UserError(
                    f"{path} is not UTF-8{kind}: line {number} has the byte 0x{line[error.start]:02x} "
                    f"at offset {offset + error.start} of the file. Save the file as UTF-8 (spreadsheets call it "
                    '"CSV UTF-8").'
                )
            offset += len(line)
    return UserError(f"{path} is not UTF-8. Save the file as UTF-8.")


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
            same = _number(self.value) == cell
        else:
            same = cell == self.value
        self.matched |= same
        if not self.matched and cell is not None and len(self._seen) < 6:
            self._seen.setdefault(str(cell)[:40])
        return same

    def nothing_matched(self) -> UserError:
        if not self._seen:
            return UserError(f"No row has the column '{self.column}' of where '{self.column}={self.value}'.")
        seen = ", ".join(f"'{value}'" for value in self._seen)
        return UserError(f"No row has {self.column} = '{self.value}'; values there are: {seen}.")


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
        _check_columns(path, [where.column], columns(path))
    number = None
    for number, cells in _READERS[path.suffix.lower()](path, wanted):
        if where is None or where.keep(cells):
            yield number, cells
    if number is None:
        raise UserError(f"{path} has no rows.")


def columns(path: Path) -> list[str]:
    """The names of the columns; for a .jsonl those of its first 200 lines."""
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            return _checked_names(path, file.schema_arrow.names)
    found: dict[str, None] = {}
    for _, cells in itertools.islice(rows(path), SAMPLE_ROWS):
        found.update(dict.fromkeys(cells))
    return list(found)


def schema_of(path: Path) -> dict[str, Any]:
    """The columns of a .parquet and their types, as pyarrow has them."""
    with _parquet(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def _check_columns(path: Path, wanted: Sequence[str] | None, names: Sequence[str]) -> None:
    for name in wanted or ():
        if name not in names:
            raise UserError(
                f"{path} has no column '{name}'; its columns are: {', '.join(names)}{did_you_mean(name, names)}"
            )


def _checked_names(path: Path, names: Sequence[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has two columns named '{name}'. Rename one of them.")
    return list(names)


def _csv_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # the default stops at cells of 131,072 characters
    header: list[str] | None = None
    line = 1
    with reading_text(path, newline="") as file:
        first_line = file.readline()
        told = _TOLD_DELIMITER.fullmatch(first_line)
        delimiter = told[1] if told else _delimiter(first_line)
        before = 1 if told else 0
        file.seek(0)
        for _ in range(before):
            file.readline()
        line += before
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                first, line = line, reader.line_num + 1 + before
                if not cells:
                    continue
                if header is None:
                    header = _csv_header(path, cells)
                    _check_columns(path, wanted, header)
                elif len(cells) != len(header):
                    raise UserError(
                        f"{path}, row {first}: {len(cells)} cells, but the header has {len(header)}. "
                        f"A cell that contains {_DELIMITERS[delimiter]}, a quote or a line end must be "
                        "written in double quotes."
                    )
                else:
                    yield first, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise UserError(
                f"{path}, row {line}: the quotes are not in order ({error}). A cell with quotes in it "
                'is written in double quotes, with each quote inside twice: "she said ""yes""".'
            ) from None


_TOLD_DELIMITER = re.compile("sep=([,;\t|])[\r\n]*")
"""The first line of a .csv for a spreadsheet."""
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def _delimiter(line: str) -> str:
    """The one of , ; tab | that cuts the header line into the most cells."""
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))


def _csv_header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if any(_number(name) is not None for name in names) or any(len(name) > 200 for name in names):
        first = ", ".join(name[:40] for name in names[:4])
        raise UserError(f"The first line of {path} must name the columns, such as text,label; it is: {first}")
    if "" in names[1:]:  # the first may be empty: pandas writes its index so
        raise UserError(f"{path}: column {names.index('', 1) + 1} of {len(names)} has no name in the header.")
    return _checked_names(path, names)


def _jsonl_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    absent = dict.fromkeys(wanted or ())
    names: dict[str, None] = {}
    with reading_text(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, row {number}: not valid JSON ({error}). {_ONE_OBJECT}") from None
            if not isinstance(cells, dict):
                raise UserError(f"{path}, row {number}: {type(cells).__name__}, not an object. {_ONE_OBJECT}")
            if absent:
                names.update(dict.fromkeys(cells))
                absent = {name: None for name in absent if name not in cells}
            yield number, cells
    if names:
        _check_columns(path, list(absent), list(names))


_ONE_OBJECT = 'A .jsonl file has one object on each line, such as {"text": "good", "label": "positive"}.'


def _json_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    names: dict[str, None] = {}
    with reading_text(path) as file:
        try:
            for number, cells in enumerate(json_rows(json.load(file)), 1):
                names.update(dict.fromkeys(cells))
                yield number, cells
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no table in JSON: {error}.") from None
    if names:
        _check_columns(path, wanted, list(names))


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # With a buffer, and without reading ahead, a row group of any size is never in memory as a whole.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can not be read as parquet: {str(error)[:300]}") from None


def _parquet_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    with _parquet(path) as file:
        _check_columns(path, wanted, _checked_names(path, file.schema_arrow.names))
        metadata = file.metadata
        size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        batch_rows = max(1, min(4096, _BATCH_BYTES * metadata.num_rows // max(size, 1)))
        class_names = _class_names(file.schema_arrow.metadata, wanted)
        number = 0
        for batch in file.iter_batches(batch_rows, columns=None if wanted is None else list(dict.fromkeys(wanted))):
            for cells in batch.to_pylist():
                for column, names in class_names.items():
                    cells[column] = _named(cells[column], names)
                number += 1
                yield number, cells


def _class_names(metadata: dict[bytes, bytes] | None, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """The names that `datasets` keeps beside a column of class numbers, by column."""
    features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    found = {}
    for column, feature in features.items():
        if isinstance(feature, list) and len(feature) == 1:  # how a Sequence was written once
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and column in (features if wanted is None else wanted)
        ):
            found[column] = feature["names"]
    return found


def _named(cell: Any, names: list[str]) -> Any:
    """A class number, or each of a list of them, by name; -1 stands for none."""
    if isinstance(cell, list):
        return [_named(item, names) for item in cell]
    return cell if not isinstance(cell, int) else names[cell] if 0 <= cell < len(names) else None


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}
TABLE_ENDINGS = tuple(_READERS)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


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
    table = pa.table({"input": list(names), "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})
    temporary = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(table, temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} can not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
