"""Tables (csv, jsonl, parquet) as a stream of rows, and which column is the text, the image, the label.

A row is `(number, cells)`. The number is what a person finds it by: the line in a .csv or .jsonl (the header
is line 1, a cell over several lines counts from its first), the 1-based row in a .parquet.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from patchword.errors import UserError, did_you_mean

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
Modality = Literal["text", "image"]
Row = tuple[int, dict[str, Any]]

_SAMPLE_ROWS = 200
_BATCH_BYTES = 8 << 20  # of a parquet file in memory at a time
_KNOWN = {  # names that say what a column is, the surest first
    "text": "text sentence content body message review document description comment tweet utterance article",
    "image": "image img picture photo image_path img_path image_file",
    "label": "label labels class category topic target sentiment intent tag tags y score rating class_name",
}


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
                    f"at offset {offset + error.start} of the file. Save the file as UTF-8."
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
    for _, cells in itertools.islice(rows(path), _SAMPLE_ROWS):
        found.update(dict.fromkeys(cells))
    return list(found)


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
        delimiter = _delimiter(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                first, line = line, reader.line_num + 1
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
                    if isinstance(index := cells[column], int):  # -1 stands for none
                        cells[column] = names[index] if 0 <= index < len(names) else None
                number += 1
                yield number, cells


def _class_names(metadata: dict[bytes, bytes] | None, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """The names that `datasets` keeps beside a column of class numbers, by column."""
    features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        if wanted is None or column in wanted
    }


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
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


class Problems:
    """What is wrong with the rows of tables, gathered so that one message names several."""

    def __init__(self) -> None:
        self.count = 0
        self._places: list[str] = []

    def note(self, problem: str | None, path: Path, number: int) -> None:
        if problem is not None:
            self.count += 1
            if len(self._places) < 5:
                self._places.append(f"{path}, row {number}: {problem}")

    def stop(self) -> None:
        """A UserError if anything was noted."""
        if self.count == 1:
            raise UserError(f"{self._places[0]}. Mend or remove the row.")
        if self.count:
            more = f"\nand {self.count - len(self._places)} more" if self.count > len(self._places) else ""
            raise UserError(f"Mend or remove {self.count} rows:\n" + "\n".join(self._places) + more)


def wrong_text(cell: object, may_be_empty: bool = False) -> str | None:
    """What keeps a cell from being a text, or None."""
    if not isinstance(cell, str):
        return "no text" if cell is None else f"{str(cell)[:40]!r} is of type {type(cell).__name__}, not a text"
    if not may_be_empty and (not cell or cell.isspace()):
        return "the text is empty"
    if not cell.isascii() and re.search("[\ud800-\udfff]", cell):
        return "the text holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character"
    return None


@dataclass(frozen=True)
class Sample:
    """The first rows of a set of tables, to tell from them which column is which.

    The methods answer with the column and the sentence that tells why it is that one.
    """

    name: str
    columns: list[str]
    cells: list[dict[str, Any]]

    @classmethod
    def of(cls, paths: Sequence[Path], where: Filter | None = None) -> Sample:
        """Of the tables, the first 200 rows that pass the filter."""
        every_row = (cells for path in paths for _, cells in rows(path, None, where))
        cells = list(itertools.islice(every_row, _SAMPLE_ROWS))
        if not cells and where is not None:
            raise where.nothing_matched()
        names = dict.fromkeys(name for row in cells for name in row if name)
        return cls(str(paths[0]), list(names), cells)

    def input_column(
        self, text_column: str | None, image_column: str | None, not_this: str | None = None
    ) -> tuple[Modality, str, str]:
        """Whether the examples are texts or images, and their column."""
        if text_column is not None and image_column is not None:
            raise UserError("An example is a text or an image: give a text column or an image column, not both.")
        image = self.image_column(image_column) if text_column is None else None
        return ("text", *self.text_column(text_column, not_this)) if image is None else ("image", *image)

    def text_column(self, given: str | None, not_this: str | None = None) -> tuple[str, str]:
        """The column with the texts: as given, by its name, else the one with the longest."""
        if given is not None:
            return self._given("text", given)
        texts = [c for c in self.columns if c != not_this and self._all(c, _is_text)]
        texts = [c for c in texts if not self._well_known("label", [c])] or texts
        if not texts:
            raise UserError(f"{self.name} has no column of texts; its columns are: {', '.join(self.columns)}.")
        if known := self._well_known("text", texts):
            return known, f"text column: '{known}' (by its name)"
        if len(texts) == 1:
            return texts[0], f"text column: '{texts[0]}' (the only text column)"
        longest = max(texts, key=lambda c: sum(map(len, self._values(c))) / len(self._values(c)))
        return longest, f"text column: '{longest}' (has the longest texts; --text-column names another)"

    def image_column(self, given: str | None = None) -> tuple[str, str] | None:
        """The column with images (bytes, or paths that end like an image), or None if there is none."""
        if given is not None:
            return self._given("image", given)
        images = [c for c in self.columns if self._all(c, _is_image)]
        paths = [c for c in self.columns if self._all(c, _is_image_path)]
        found = self._well_known("image", images) or self._well_known("image", images + paths)
        if found is None and not self._well_known("text", self.columns):
            images += paths
        if found is None and images:
            found = images[0]
        return None if found is None else (found, f"image column: '{found}'")

    def label_column(self, given: str | None, not_this: str, guess: bool) -> tuple[str, str] | None:
        """The column with the labels: as given, by its name, else, with `guess`, the one with few values."""
        if given is not None:
            return self._given("label", given)
        others = [c for c in self.columns if c != not_this and not self._all(c, _is_image)]
        if known := self._well_known("label", others):
            rest = ", ".join(f"'{column}'" for column in others if column != known)
            return known, f"label column: '{known}' (by its name{'; not used: ' if rest else ''}{rest})"
        if not guess:
            return None
        most = max(2, len(self.cells) // 4)
        few = [c for c in others if 2 <= len(set(map(repr, self._values(c)))) <= most]
        if len(few) == 1 and few[0] in self._values(few[0]):
            raise UserError(
                f"{self.name}: '{few[0]}' is a column's name and one of its values. Does the first line name "
                "the columns? If not, add one that does, such as text,label."
            )
        if len(few) == 1:
            return few[0], f"label column: '{few[0]}' (the only other one with few different values)"
        raise UserError(
            f"{self.name}: which column has the labels? Its columns are: {', '.join(self.columns)}. "
            "Name one with --label-column (label_column=)."
        )

    def _values(self, column: str) -> list[Any]:
        return [row[column] for row in self.cells if row.get(column) is not None]

    def _all(self, column: str, test: Callable[[object], bool]) -> bool:
        values = self._values(column)
        return bool(values) and all(map(test, values))

    def _given(self, kind: str, given: str) -> tuple[str, str]:
        if given not in self.columns:
            raise UserError(
                f"{self.name} has no column '{given}' (asked for as {kind} column); its columns are: "
                f"{', '.join(self.columns)}{did_you_mean(given, self.columns)}"
            )
        return given, f"{kind} column: '{given}' (as asked)"

    @staticmethod
    def _well_known(kind: str, names: Sequence[str]) -> str | None:
        by_lower = {name.lower(): name for name in reversed(names)}
        return next((by_lower[name] for name in _KNOWN[kind].split() if name in by_lower), None)


def _is_text(cell: object) -> bool:
    return isinstance(cell, str)


def _is_image(cell: object) -> bool:
    return isinstance(cell, bytes | dict)


def _is_image_path(cell: object) -> bool:
    return isinstance(cell, str) and cell.lower().endswith(IMAGE_ENDINGS)
