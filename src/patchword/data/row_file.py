"""A file of rows that is written a chunk at a time: .csv, .tsv, .jsonl or .parquet.

Until it is whole, its chunks stand in a hidden folder beside it, each in a file that is there or not. So a run that is
killed at any moment can go on, and what it writes in the end is the same to the byte.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from patchword.data.names import encodable, shown_path
from patchword.errors import UserError
from patchword.models.config_file import read_json
from patchword.models.folder import write_file, write_json

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARTS = 32  # chunks in a row group of a parquet file
WRITTEN = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Column:
    """A column that is written.

    Attributes:
        name: of it.
        kinds: the types of its cells.
        arrow: its type in a parquet file, where it is known.
    """

    name: str
    kinds: frozenset[type]
    arrow: Any = None

    def arrow_type(self) -> Any:
        """The type in a parquet file: what was kept, or what its cells ask for; anything else is JSON text."""
        import pyarrow as pa

        if self.arrow is not None and not (self.kinds == {str} and pa.types.is_integer(self.arrow)):  # named classes
            return self.arrow
        plain = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), bytes: pa.binary()}
        if self.kinds == {int, float}:
            return pa.float64()
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
        # A lone surrogate of a text becomes its escape, which is how JSON has it.
        lines = (json.dumps(row, ensure_ascii=False, default=cell_text) for row in rows)
        return b"".join(line.encode("utf-8", "backslashreplace") + b"\n" for line in lines)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=_DELIMITERS[ending], lineterminator="\n")
    names = [column.name for column in columns]
    if header:
        writer.writerow(names)
    writer.writerows([cell_text(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def cell_text(cell: Any) -> str:
    """A cell as a .csv has it: lists and dicts as JSON, paths as they are shown, nothing for None."""
    if isinstance(cell, str):
        return cell
    if cell is None:
        return ""
    if isinstance(cell, Path):
        return shown_path(cell)
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, bool | list | dict) else str(cell)


def _encode_parquet(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, column.arrow_type()) for column in columns])
    arrays = []
    for field in schema:
        convert: Callable[[Any], Any] = _as_text if pa.types.is_string(field.type) else lambda cell: cell
        try:
            arrays.append(pa.array([convert(row.get(field.name)) for row in rows], field.type))
        except (pa.ArrowException, OverflowError) as error:
            raise UserError(
                f"The column '{field.name}' can not be written as parquet ({error}). Write a .jsonl."
            ) from None
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink)
    return sink.getvalue()


def _as_text(cell: Any) -> str | None:
    return None if cell is None else encodable(cell_text(cell))


def _join_parquet(whole: Path, parts: Sequence[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(whole, pq.read_schema(parts[0])) as writer:
        for first in range(0, len(parts), _PARTS):
            writer.write_table(pa.concat_tables(pq.read_table(part) for part in parts[first : first + _PARTS]))
