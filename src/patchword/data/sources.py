"""A file, a folder or a pattern -> examples: documents to pretrain on, or rows with their labels."""

from __future__ import annotations

import glob
import hashlib
import math
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from patchword.data.images import class_folders, image_in_cell
from patchword.data.tables import (
    IMAGE_ENDINGS,
    TABLE_ENDINGS,
    Filter,
    Modality,
    Problems,
    Sample,
    reading_text,
    rows,
    wrong_text,
)
from patchword.errors import UserError

Data = str | Path | Sequence[str | Path]

_ENDINGS = (".txt", *TABLE_ENDINGS, *IMAGE_ENDINGS)
_READ = f"Files are read that end in {', '.join(_ENDINGS)}."
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_BLOCK = 1 << 20  # characters
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def find_files(data: Data) -> list[Path]:
    """The files that `data` stands for: a path, a folder, a pattern such as "notes/*.txt", or a list of them.

    Sorted; folders with all that is in them but hidden files. Text and images together are a UserError.
    """
    return list(_find(data))


def modality(data: Data, *, text_column: str | None = None, image_column: str | None = None) -> Modality:
    """Whether `data` is text or images: by the files' endings, for tables by their first rows."""
    found = _find(data)
    if _ending(next(iter(found))) in IMAGE_ENDINGS:
        return "image"
    tables = [path for path in found if _ending(path) in TABLE_ENDINGS]
    return Sample.of(tables).input_column(text_column, image_column)[0] if tables else "text"


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _items(data: Data) -> list[Path]:
    return [Path(item).expanduser() for item in ([data] if isinstance(data, str | Path) else data)]


def _find(data: Data) -> dict[Path, Path]:
    """Each file, and the folder it was looked for in: names and class folders count from there."""
    found: dict[Path, Path] = {}
    for path in _items(data):
        new: dict[Path, Path]
        if path.is_dir():
            new = dict.fromkeys(_walk(path), path)
        elif path.exists():
            if _ending(path) not in _ENDINGS:
                raise UserError(f"{path} ends in '{path.suffix}', which is not read. {_READ}")
            new = {path: path.parent}
        elif glob.has_magic(str(path)):
            fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
            new = dict.fromkeys(map(Path, glob.iglob(str(path), recursive=True)), fixed)
        else:
            raise UserError(f"{path} does not exist.")
        new = {file: root for file, root in new.items() if _ending(file) in _ENDINGS and file.is_file()}
        if not new:
            raise UserError(f"There is nothing to read in {path}. {_READ}")
        found.update(new)
    if not found:
        raise UserError("No data given: name a file, a folder or a pattern.")
    images = [path for path in found if _ending(path) in IMAGE_ENDINGS]
    if images and len(images) < len(found):
        text = next(path for path in found if _ending(path) not in IMAGE_ENDINGS)
        raise UserError(
            f"Text and images are mixed ({text}, {images[0]}). Give one kind; a table that names "
            "images is given by itself."
        )
    return dict(sorted(found.items()))


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files but hidden ones; links are followed, those that lead in a circle once."""
    if (real := folder.resolve()) in above:
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from _walk(Path(entry), (*above, real))
                else:
                    yield Path(entry)
    except OSError as error:
        raise UserError(f"{folder} can not be read: {error.strerror or error}.") from None


def _hash(parts: Iterable[bytes | str | Path]) -> str:
    """Hex blake2b of strings and bytes and the contents of files, each kept apart from the next."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, hashlib.blake2b).digest())
        else:
            total.update(hashlib.blake2b(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()


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
        self.files = find_files(data)
        self.notes: list[str] = []
        self._column = text_column
        self._lines = lines
        self._where = where
        if _ending(self.files[0]) in IMAGE_ENDINGS:
            raise UserError(f"{self.files[0]} is an image; documents are texts.")
        tables = [path for path in self.files if _ending(path) in TABLE_ENDINGS]
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
        if _ending(path) in TABLE_ENDINGS:
            assert self._column is not None
            for number, cells in rows(path, [self._column], where):
                text = cells.get(self._column)
                if text is not None and (problem := wrong_text(text, may_be_empty=True)):
                    raise UserError(f"{path}, row {number}: {problem}.")
                yield text or ""
        elif self._lines:
            yield from (text for _, text in _lines(path))
        else:
            yield from _blocks(path)

    @cached_property
    def _digest(self) -> str:
        options = repr((self._column, self._lines, self._where))
        return _hash([options, *(part for path in self.files for part in (_ending(path), path))])

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


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with reading_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.strip()


class Origins(Sequence[str]):
    """Where each example came from, such as "tickets.csv, row 7", written out when asked for."""

    def __init__(self, names: list[str], name_of: array[int], rows: array[int]) -> None:
        self._names, self._name_of, self._rows = names, name_of, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        name, row = self._names[self._name_of[index]], self._rows[index]
        return f"{name}, row {row}" if row else name

    def subset(self, ids: Iterable[int]) -> Origins:
        ids = list(ids)
        return Origins(
            self._names, array("q", (self._name_of[i] for i in ids)), array("q", (self._rows[i] for i in ids))
        )


@dataclass(frozen=True)
class Labelled:
    """Examples in memory, a text or an image (a path, or bytes not yet decoded) each, with their labels.

    Attributes:
        labels: the cells as they are: str, int, bool or float, or list[str] where an example has several
            labels; None where there is no label column.
        origins: where each example came from, such as "tickets.csv, row 7".
        columns: the columns used, such as {"text": "body", "label": "topic"}.
        notes: what was found out, in sentences for the user.
        fingerprint: hex blake2b of the contents and of what was chosen from them.
    """

    modality: Modality
    inputs: Sequence[str] | Sequence[Path | bytes]
    labels: list[Any] | None
    origins: Origins
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, ids: Iterable[int]) -> Labelled:
        """The examples with these numbers, in this order."""
        ids = [int(i) for i in ids]
        return replace(
            self,
            inputs=[self.inputs[i] for i in ids],  # type: ignore[arg-type]
            labels=None if self.labels is None else [self.labels[i] for i in ids],
            origins=self.origins.subset(ids),
            fingerprint=_hash([self.fingerprint, array("q", ids).tobytes()]),
        )


def read_labelled(
    data: Data,
    *,
    text_column: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    need_labels: bool = True,
    where: str | None = None,
) -> Labelled:
    """Read texts or images with their labels: tables, or images in one folder a class.

    Columns that are not given are found by their names, else by what is in them, and told in `notes`. Without
    `need_labels`, labels may be missing, a .txt is read too (a text on each line), and a text may be empty.
    """
    found = _find(data)
    endings = {_ending(path) for path in found}
    if endings <= set(TABLE_ENDINGS):
        return _read_tables(list(found), text_column, image_column, label_column, need_labels, where)
    if asked := text_column or image_column or label_column or where:
        plain = next(path for path in found if _ending(path) not in TABLE_ENDINGS)
        raise UserError(f"{plain} is not a table, so it has no columns for '{asked}'.")
    if endings <= set(IMAGE_ENDINGS):
        return _read_image_folders(found, [path for path in _items(data) if path.is_dir()], need_labels)
    return _read_lines(list(found), need_labels)


def _read_lines(files: list[Path], need_labels: bool) -> Labelled:
    plain = next(path for path in files if _ending(path) not in TABLE_ENDINGS)
    if need_labels:
        raise UserError(
            f"{plain} is plain text, without labels. Labelled texts are in a .csv, .jsonl or .parquet with a "
            "column of texts and one of labels."
        )
    if tables := [path for path in files if _ending(path) in TABLE_ENDINGS]:
        raise UserError(f"Plain text and tables are mixed ({plain} and {tables[0]}). Give the ones or the others.")
    read = [(i, number, text) for i, path in enumerate(files) for number, text in _lines(path)]
    if not read:
        raise UserError(f"There is no text in {', '.join(map(str, files))}.")
    origins = Origins(_names(files), array("q", (i for i, _, _ in read)), array("q", (n for _, n, _ in read)))
    return Labelled("text", [text for *_, text in read], None, origins, fingerprint=_hash(["lines", *files]))


def _names(files: list[Path]) -> list[str]:
    """Without their folders, where that tells them apart."""
    names = [path.name for path in files]
    return names if len(set(names)) == len(names) else [str(path) for path in files]


def _read_image_folders(found: dict[Path, Path], folders: list[Path], need_labels: bool) -> Labelled:
    names = [path.relative_to(root) for path, root in found.items()]
    classes = class_folders(names, folders if need_labels else [])
    if need_labels and None in classes:
        raise UserError(
            f"{list(found)[classes.index(None)]} is in no class folder. Put the images of a class into one "
            "of its name (cats/1.png), or give a table with a column of images and one of labels."
        )
    if need_labels and set(classes) <= _SPLITS:
        raise UserError(f"{', '.join(sorted(set(map(str, classes))))}: these are splits, not classes. Give one.")
    labels = None if None in classes else classes
    notes = [] if labels is None else [f"labels: the names of the {len(set(labels))} class folders"]
    origins = Origins(list(map(str, names)), array("q", range(len(names))), array("q", [0]) * len(names))
    marks = (part for path, label in zip(found, classes, strict=True) for part in (label or "", path))
    return Labelled("image", list(found), labels, origins, {}, notes, _hash(marks))


def _read_tables(
    tables: list[Path],
    text_column: str | None,
    image_column: str | None,
    label_column: str | None,
    need_labels: bool,
    where: str | None,
) -> Labelled:
    kept = Filter(where) if where else None
    sample = Sample.of(tables, kept)
    kind, column, note = sample.input_column(text_column, image_column, not_this=label_column)
    label, label_note = sample.label_column(label_column, column, need_labels) or ("", "no label column")
    if label == column:
        raise UserError(f"The column '{column}' can not be both the {kind} and the label.")

    inputs: list[Any] = []
    labels: list[Any] = []
    table_of, numbers = array("q"), array("q")
    wrong, unlabelled = Problems(), Problems()
    for i, path in enumerate(tables):
        for number, cells in rows(path, [column, label] if label else [column], kept):
            cell = cells.get(column)
            if kind == "image":
                cell = image_in_cell(cell, path.parent)
                wrong.note(_wrong_image(cell), path, number)
            else:
                cell = "" if cell is None and not need_labels else cell
                wrong.note(wrong_text(cell, may_be_empty=not need_labels), path, number)
            if label and _is_missing(cells.get(label)):
                unlabelled.note("no label", path, number)
            elif label:
                wrong.note(_wrong_label(cells[label], labels), path, number)
            inputs.append(cell)
            labels.append(cells.get(label))
            table_of.append(i)
            numbers.append(number)
    wrong.stop()
    notes = [note, label_note]
    if need_labels or label_column is not None:
        unlabelled.stop()
    elif unlabelled.count:
        notes[1] = f"labels not used: {unlabelled.count} rows have none in the column '{label}'"
        label = ""
    if label and all(_ending(path) in (".csv", ".tsv") for path in tables) and _are_decimals(labels):
        labels = list(map(float, labels))
        notes.append(f"the labels in '{label}' are decimal numbers")
    used: dict[str, str] = {kind: column, "label": label} if label else {kind: column}
    marks: list[str | Path] = [repr((used, where)), *tables]
    marks += [cell for cell in inputs if isinstance(cell, Path)]
    origins = Origins(_names(tables), table_of, numbers)
    return Labelled(kind, inputs, labels if label else None, origins, used, notes, _hash(marks))


def _wrong_image(image: Path | bytes | None) -> str | None:
    if image is None:
        return "no image (neither bytes nor a path)"
    return f"there is no image file {image}" if isinstance(image, Path) and not image.is_file() else None


def _is_missing(cell: object) -> bool:
    if isinstance(cell, float):
        return not math.isfinite(cell)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _wrong_label(cell: object, before: Sequence[Any]) -> str | None:
    """What is wrong with a label by itself, or beside the first one."""
    if not isinstance(cell, str | int | float | list):
        return f"a {type(cell).__name__} is not a label (text, number or list of texts)"
    if isinstance(cell, list) and not all(isinstance(label, str) and label.strip() for label in cell):
        return f"the labels {str(cell)[:60]} are not all texts; write the classes' names"
    if before and not _is_missing(before[0]) and _label_kind(cell) != _label_kind(before[0]):
        first = f"the first one, {str(before[0])[:40]!r}, a {_label_kind(before[0])}"
        return f"the label {str(cell)[:40]!r} is a {_label_kind(cell)}, {first}"
    return None


def _label_kind(cell: object) -> str:
    return {str: "text", list: "list", bool: "truth value"}.get(type(cell), "number")


def _are_decimals(labels: Iterable[str]) -> bool:
    labels = list(labels)
    return all(map(_DECIMAL.fullmatch, labels)) and any("." in x or "e" in x.lower() for x in labels)
