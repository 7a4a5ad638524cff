"""A file of rows that is written a chunk at a time: .csv, .tsv, .jsonl or .parquet.

Until it is whole, its chunks stand in a hidden folder beside it, each in a file that is there or not. So a run that is
killed at any moment can go on, and what it writes in the end is the same to the byte.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from patchword.data.arrow_cells import ArrowValue, array_of
from patchword.data.atomic import write_file, write_json
from patchword.data.json_rows import RawJson
from patchword.data.names import encodable, shown_path
from patchword.errors import UserError
from patchword.models.config_file import read_json

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARTS = 32  # chunks in a row group of a parquet file
WRITTEN = (".csv", ".tsv", ".jsonl", ".parquet")
_LARGEST, _EXACT = 2**63, 2**53


class Large(int):
    """The kind of a whole number that a double can not hold exactly."""


class Huge(int):
    """The kind of a whole number of more than 64 bits."""


def kind_of(cell: Any) -> type:
    """What decides how the column of a cell is kept: its type, of a whole number with its size."""
    kind = type(cell)
    if kind is int and not -_EXACT <= cell <= _EXACT:
        return Large if -_LARGEST <= cell < _LARGEST else Huge
    return kind


@dataclass(frozen=True)
class Column:
    """A column that is written.

    Attributes:
        name: of it.
        kinds: the types of its cells, as `kind_of` has them.
        arrow: its type in a parquet file, where it is known.
    """

    name: str
    kinds: frozenset[type]
    arrow: Any = None

    def arrow_type(self) -> Any:
        """The type in a parquet file: what was kept, or what its cells ask for; anything else is JSON text."""
        import pyarrow as pa

        if self.arrow is not None:
            return self.arrow
        if self.kinds and self.kinds <= {int, Large}:
            return pa.int64()
        if self.kinds == {int, float}:
            return pa.float64()
        plain = {str: pa.string(), bool: pa.bool_(), float: pa.float64(), bytes: pa.binary()}
        return plain.get(next(iter(self.kinds)), pa.string()) if len(self.kinds) == 1 else pa.string()


class RowFile:
    """The file in the making.

    Args:
        path: of the file.
        marks: what its content depends on, by the name that a person knows it by ("the data", "the model", ...).
        overwrite: replace a file that is there, and chunks of other marks.

    Raises:
        UserError: the ending is not written, the file is there, or its chunks were made from something else.
    """

    def __init__(self, path: Path, marks: Mapping[str, str], overwrite: bool = False) -> None:
        check_can_be_written(path, overwrite)
        self.path = path
        self.folder = path.with_name(f".{path.name}.part")
        old = read_json(self.folder / "marks.json") if (self.folder / "marks.json").is_file() else None
        if old is not None and old != marks:
            changed = " and ".join(name for name in marks if old.get(name) != marks[name])
            if not overwrite:
                raise UserError(
                    f"An unfinished {path} is there, but {changed} changed since. --overwrite (overwrite=True) starts "
                    "afresh."
                )
            with self.alone():
                shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "marks.json", marks)
        self.done = 0
        """Chunks that are written."""
        self.counts: dict[str, int] = {}
        """What was counted in all of them."""
        while self._chunk(self.done).is_file():
            self._add_up(read_json(self._chunk(self.done).with_suffix(".json")))
            self.done += 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, no other process can write the file.

        Raises:
            UserError: one does.
        """
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout:
            raise UserError(f"Another process is writing {self.path} at this moment.") from None

    def write(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> None:
        """The next chunk, safe on the disk when this returns."""
        path = self._chunk(self.done)
        write_json(path.with_suffix(".json"), counts)
        write_file(path, encode(self.path.suffix.lower(), columns, rows, header=self.done == 0))
        self._add_up(counts)
        self.done += 1

    def finish(self) -> None:
        """Put the chunks together under the file's name."""
        whole = self.folder / "whole"
        parts = [self._chunk(number) for number in range(self.done)]
        if self.path.suffix.lower() == ".parquet":
            _join_parquet(whole, parts)
        else:
            with whole.open("wb") as file:
                for part in parts:
                    with part.open("rb") as chunk:
                        shutil.copyfileobj(chunk, file, 1 << 20)
        with whole.open("rb+") as file:
            os.fsync(file.fileno())
        whole.replace(self.path)
        shutil.rmtree(self.folder)

    def _chunk(self, number: int) -> Path:
        return self.folder / f"{number:08}.rows"

    def _add_up(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count


def check_can_be_written(path: Path, overwrite: bool) -> None:
    """Before any work is done for it.

    Raises:
        UserError: such a file is not written, or it is there and may not be replaced.
    """
    if path.suffix.lower() not in WRITTEN:
        raise UserError(f"{path}: files are written that end in {', '.join(WRITTEN)}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already. --overwrite (overwrite=True) replaces it.")


def encode(ending: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], header: bool) -> bytes:
    """Rows as the bytes of a file; a row may lack columns.

    Args:
        ending: ".csv", ".tsv", ".jsonl" or ".parquet".
        columns: in their order. A .jsonl has what a row has.
        rows: cells by column.
        header: whether a .csv or .tsv begins with the names of the columns.
    """
    if ending == ".parquet":
        return _encode_parquet(columns, rows)
    if ending == ".jsonl":
        return b"".join(_json(row).encode() + b"\n" for row in rows)
    delimiter = _DELIMITERS[ending]
    quoted = re.compile(rf'["\r\n{delimiter}]|^\s|\s$')
    names = [column.name for column in columns]
    lines = [names] if header else []
    lines += [[cell_text(row.get(name)) for name in names] for row in rows]
    return encodable("".join(delimiter.join(_cells(line, quoted)) + "\n" for line in lines)).encode()


def _cells(line: list[str], quoted: re.Pattern[str]) -> list[str]:
    """In quotes where a reader needs them: Python's own writer leaves a lone carriage return bare before 3.11.9."""
    if line == [""]:  # an empty line is no row to most readers
        return ['""']
    return ['"' + cell.replace('"', '""') + '"' if quoted.search(cell) else cell for cell in line]


def cell_text(cell: Any) -> str:
    """A cell as a .csv has it: lists and dicts as JSON, paths as they are shown, nothing for None and NaN."""
    if isinstance(cell, str):
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, ArrowValue):
        return cell_text(cell.plain())
    if isinstance(cell, list | tuple | dict):
        return _json(cell)
    return str(cell if isinstance(cell, Decimal | RawJson) else _other(cell))


class _RawError(Exception):
    """A row has a cell that is JSON already."""


def _json(value: Any) -> str:
    """JSON that every reader takes: without NaN and Infinity, which it has not, and without bare line separators."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_other)
    except ValueError:  # not a finite number
        return _json(_finite(value))
    except _RawError:
        items = (f"{_json(name)}: {cell if isinstance(cell, RawJson) else _json(cell)}" for name, cell in value.items())
        return "{" + ", ".join(items) + "}"
    return text if text.isascii() else _NOT_IN_JSON.sub(_escaped, text)


_NOT_IN_JSON = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def _escaped(found: re.Match[str]) -> str:
    """Line separators of Unicode as escapes; half of a surrogate pair as the text that `encodable` makes of it."""
    return json.dumps(encodable(found[0]))[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, ArrowValue):
        return _finite(value.plain())
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _other(cell: Any) -> Any:
    """What JSON has no form for: text that keeps all digits; bytes in base 64."""
    if isinstance(cell, RawJson):
        raise _RawError
    if isinstance(cell, ArrowValue):
        return cell.plain()
    if isinstance(cell, Path):
        return shown_path(cell)
    if isinstance(cell, Decimal) and cell.is_finite() and Decimal(repr(float(cell))) == cell:
        return float(cell)
    return base64.b64encode(cell).decode() if isinstance(cell, bytes) else str(cell)


def _encode_parquet(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(encodable(column.name), column.arrow_type()) for column in columns])
    arrays = []
    for column, field in zip(columns, schema, strict=True):
        cells = [row.get(column.name) for row in rows]
        if column.arrow is None and pa.types.is_string(field.type):
            cells = [None if cell is None else encodable(cell_text(cell)) for cell in cells]
        try:
            arrays.append(array_of(cells, field.type))
        except (pa.ArrowException, OverflowError) as error:
            raise UserError(
                f"The column '{field.name}' can not be written as parquet ({error}). Write a .jsonl."
            ) from None
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink)
    return sink.getvalue()


def _join_parquet(whole: Path, parts: Sequence[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(whole, pq.read_schema(parts[0])) as writer:
        for first in range(0, len(parts), _PARTS):
            writer.write_table(pa.concat_tables(pq.read_table(part) for part in parts[first : first + _PARTS]))
