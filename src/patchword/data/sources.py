"""A file, a folder or a pattern -> rows with their labels: texts, or images not yet decoded."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, Self

from patchword.data.columns import Problems, Sample, type_name, wrong_text
from patchword.data.documents import text_lines
from patchword.data.files import Data, ending, find, hash_of, items_of
from patchword.data.images import class_folders, image_in_cell
from patchword.data.label_cells import list_in, numbers_in
from patchword.data.names import class_name, shown_path
from patchword.data.split_names import refuse_mixed_splits, refuse_split_folders
from patchword.data.tables import CONLL_ENDINGS, TABLE_ENDINGS, Answers, Filter, Modality
from patchword.errors import UserError


def modality(data: Data, *, text_column: str | None = None, image_column: str | None = None) -> Modality:
    """Whether `data` is text or images: by the files' endings, for tables by their first rows."""
    found = find(data)
    if found.are_images:
        return "image"
    tables = [path for path in found if ending(path) in TABLE_ENDINGS]
    if not tables:
        return "text"
    sample = Sample.of(tables)
    if text_column is None and image_column is None:  # texts, or lists of words
        return "text" if sample.image_column() is None else "image"
    return sample.input_column(text_column, image_column)[0]


class Origins(Sequence[str]):
    """Where each example came from, such as "tickets.csv, row 7", written out when asked for."""

    def __init__(self, names: list[str], name_of: array[int], rows: array[int]) -> None:
        self._names, self._name_of, self._rows = names, name_of, rows

    @classmethod
    def named(cls, places: Sequence[str]) -> Origins:
        """Places that are written out already."""
        return cls(list(places), array("q", range(len(places))), array("q", bytes(8 * len(places))))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        name, row = self._names[self._name_of[index]], self._rows[index]
        return f"{name}, row {row}" if row else name

    def files(self) -> Iterator[str]:
        """Of each example the file."""
        return (self._names[name] for name in self._name_of)

    def subset(self, ids: Iterable[int]) -> Origins:
        ids = list(ids)
        return Origins(
            self._names, array("q", (self._name_of[i] for i in ids)), array("q", (self._rows[i] for i in ids))
        )


class Rows(Protocol):
    """Examples in memory, whatever is to be learnt of them."""

    @property
    def inputs(self) -> Sequence[str | tuple[str, str] | Path | bytes]:
        """What is read of each, by which two are told to be the same."""

    @property
    def origins(self) -> Sequence[str]:
        """Where each came from, such as "tickets.csv, row 7"."""

    def __len__(self) -> int:
        """How many they are."""

    def subset(self, ids: Iterable[int]) -> Self:
        """Those with these numbers, in this order."""


@dataclass(frozen=True)
class Labelled:
    """Examples in memory, a text, two or an image (a path, or bytes not yet decoded) each, with their labels.

    Attributes:
        labels: the cells as they are: str, int, bool or float, or list[str] where an example has several
            labels; None where there is no label column.
        origins: where each example came from, such as "tickets.csv, row 7".
        columns: the columns used, such as {"text": "body", "label": "topic"}.
        notes: what was found out, in sentences for the user.
        fingerprint: hex blake2b of the contents and of what was chosen from them.
    """

    modality: Modality
    inputs: Sequence[str] | Sequence[tuple[str, str]] | Sequence[Path | bytes]
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
        inputs: list[Any] = [self.inputs[i] for i in ids]  # all texts or all pictures, as they were
        return replace(
            self,
            inputs=inputs,
            labels=None if self.labels is None else [self.labels[i] for i in ids],
            origins=self.origins.subset(ids),
            fingerprint=hash_of([self.fingerprint, array("q", ids).tobytes()]),
        )


def read_labelled(
    data: Data,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    need_labels: bool = True,
    where: str | None = None,
    pairs: bool = False,
    bad_rows: list[str] | None = None,
) -> Labelled:
    """Read texts or images with their labels: tables, or images in one folder a class.

    Columns that are not given are found by their names, else by what is in them, and told in `notes`. Without
    `need_labels`, labels may be missing, a .txt is read too (a text on each line), and a text may be empty. With
    `pairs`, columns such as premise and hypothesis are two texts of each example; so they are where `pair_column` says.
    Rows of a table without an input or a label are an error; given `bad_rows`, they are told there and left out.
    """
    found = find(data)
    endings = {ending(path) for path in found}
    if tagged := [path for path in found if ending(path) in CONLL_ENDINGS]:
        raise UserError(f"{tagged[0]} holds words with tags; they are what the task token-classification reads.")
    if endings <= set(TABLE_ENDINGS) and not found.are_images:
        if need_labels:
            refuse_mixed_splits(found, items_of(data), where)
        columns = (text_column, pair_column, image_column, label_column)
        return _read_tables(list(found), columns, need_labels, where, pairs, bad_rows)
    if asked := text_column or pair_column or image_column or label_column or where:
        plain = next(path for path in found if ending(path) not in TABLE_ENDINGS)
        raise UserError(f"{plain} is not a table, so it has no columns for '{asked}'.")
    if found.are_images:
        return _read_image_folders(found, [path for path in items_of(data) if path.is_dir()], need_labels)
    return _read_lines(list(found), need_labels)


def _read_lines(files: list[Path], need_labels: bool) -> Labelled:
    plain = next(path for path in files if ending(path) not in TABLE_ENDINGS)
    if need_labels:
        raise UserError(
            f"{plain} is plain text, without labels. Labelled texts are in a .csv, .jsonl or .parquet with a "
            "column of texts and one of labels."
        )
    if tables := [path for path in files if ending(path) in TABLE_ENDINGS]:
        raise UserError(f"Plain text and tables are mixed ({plain} and {tables[0]}). Give the ones or the others.")
    read = [(i, number, text) for i, path in enumerate(files) for number, text in text_lines(path)]
    if not read:
        raise UserError(f"There is no text in {', '.join(map(str, files))}.")
    origins = Origins(_names(files), array("q", (i for i, _, _ in read)), array("q", (n for _, n, _ in read)))
    return Labelled("text", [text for *_, text in read], None, origins, fingerprint=hash_of(["lines", *files]))


def _names(files: list[Path]) -> list[str]:
    """Without their folders, where that tells them apart."""
    names = [shown_path(path.name) for path in files]
    return names if len(set(names)) == len(names) else [shown_path(path) for path in files]


def _read_image_folders(found: dict[Path, Path], folders: list[Path], need_labels: bool) -> Labelled:
    names = [path.relative_to(root) for path, root in found.items()]
    if need_labels:
        for folder in folders:
            refuse_split_folders(
                [name for name, root in zip(names, found.values(), strict=True) if root == folder], folder
            )
    classes = class_folders(names, folders if need_labels else [])
    if need_labels and None in classes:
        raise UserError(
            f"{shown_path(list(found)[classes.index(None)])} is in no class folder. Put the images of a class into one "
            "of its name (cats/1.png), or give a table with a column of images and one of labels."
        )
    labels = None if None in classes else classes
    notes = [] if labels is None else [f"labels: the names of the {len(set(labels))} class folders"]
    origins = Origins(list(map(shown_path, names)), array("q", range(len(names))), array("q", [0]) * len(names))
    marks = (part for path, label in zip(found, classes, strict=True) for part in (label or "", path))
    return Labelled("image", list(found), labels, origins, {}, notes, hash_of(marks))


def _read_tables(
    tables: list[Path],
    columns: tuple[str | None, str | None, str | None, str | None],
    need_labels: bool,
    where: str | None,
    pairs: bool,
    bad_rows: list[str] | None,
) -> Labelled:
    text_column, pair_column, image_column, label_column = columns
    kept = Filter(where) if where else None
    sample = Sample.of(tables, kept)
    looks = image_column is None and (pairs or pair_column is not None)
    pair = sample.pair_columns(text_column, pair_column, not_this=label_column) if looks else None
    kind, column, note = (
        sample.input_column(text_column, image_column, not_this=label_column)
        if pair is None
        else ("text", pair[0], pair[2])
    )
    second = "" if pair is None else pair[1]
    label, label_note = sample.label_column(label_column, (column, second), need_labels) or ("", "no label column")
    if label in (column, second) and label:
        raise UserError(f"The column '{label}' can not be both the {kind} and the label.")

    if kind == "text" and label and sample.holds_lists(column) and sample.holds_lists(label):
        raise UserError(
            f"{sample.name}: '{column}' and '{label}' hold lists that are written as text. If they are words and their "
            "tags, write a .jsonl or .parquet with lists, or one word a row with the columns sentence, word and tag."
        )

    inputs: list[Any] = []
    labels: list[Any] = []
    table_of, numbers = array("q"), array("q")
    wrong, unlabelled = Problems(bad_rows), Problems(bad_rows if need_labels else None)
    answers = Answers(tables, (column, second, label) if need_labels else ())
    for i, path in enumerate(tables):
        for number, cells in answers.rows(path, [name for name in (column, second, label) if name], kept):
            texts = []
            before = wrong.count + (unlabelled.count if need_labels else 0)
            for name in (column, second) if second else (column,):
                cell = cells.get(name)
                if kind == "image":
                    cell = image_in_cell(cell, path.parent)
                    wrong.note(_wrong_image(cell), path, number)
                else:
                    cell = "" if cell is None and not need_labels else cell
                    problem = wrong_text(cell, may_be_empty=not need_labels)
                    other_type = cell is not None and not isinstance(cell, str)
                    wrong.note(f"{problem} (column '{name}')" if other_type else problem, path, number)
                texts.append(cell)
            if label and _is_missing(cells.get(label)):
                unlabelled.note(f"nothing in the column '{label}'", path, number)
            elif label:
                try:
                    cells[label] = _label_in(cells[label])
                    problem = _wrong_label(cells[label], labels)
                    wrong.note(problem and f"{problem} (column '{label}')", path, number)
                except ValueError as error:
                    wrong.note(str(error), path, number)
            if bad_rows is not None and wrong.count + (unlabelled.count if need_labels else 0) > before:
                continue
            inputs.append(tuple(texts) if second else texts[0])
            labels.append(_spelled(cells.get(label)))
            table_of.append(i)
            numbers.append(number)
    wrong.stop()
    notes = [note, label_note, *answers.notes]
    if need_labels or label_column is not None:
        unlabelled.stop()
    elif unlabelled.count:
        notes[1] = f"labels not used: {unlabelled.count} rows have none in the column '{label}'"
        label = ""
    without_types = all(ending(path) in (".csv", ".tsv") for path in tables) and all(isinstance(x, str) for x in labels)
    if label and without_types and (decimals := numbers_in(labels)):
        comma = " with a comma" if any("," in str(number) for number in decimals) else ""
        notes.append(
            f"the labels in '{label}' are written as decimal numbers{comma}; --problem single_label_classification "
            "reads them as names of classes"
        )
        labels = list(decimals)
    used = {name: c for name, c in ((kind, column), ("pair", second), ("label", label)) if c}
    marks: list[str | Path] = [repr((used, where)), *tables]
    marks += [cell for cell in inputs if isinstance(cell, Path)]
    origins = Origins(_names(tables), table_of, numbers)
    return Labelled(kind, inputs, labels if label else None, origins, used, notes, hash_of(marks))


def _wrong_image(image: Path | bytes | None) -> str | None:
    if image is None:
        return "no image (neither bytes nor a path)"
    return f"there is no image file {shown_path(image)}" if isinstance(image, Path) and not image.is_file() else None


def _spelled(label: Any) -> Any:
    """A label as it is, in the one spelling that Unicode has for it."""
    if isinstance(label, list):
        return [_spelled(one) for one in label]
    return class_name(label) if isinstance(label, str) else label


def _is_missing(cell: object) -> bool:
    if isinstance(cell, float):
        return not math.isfinite(cell)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _label_in(cell: Any) -> Any:
    """The cell, or the list of labels that is written in its text."""
    found = list_in(cell) if isinstance(cell, str) else None
    return cell if found is None else found


def _wrong_label(cell: object, before: Sequence[Any]) -> str | None:
    """What is wrong with a label by itself, or beside the first one."""
    if not isinstance(cell, str | int | float | Decimal | list):
        return f"a {type_name(cell)} is not a label (text, number or list of texts)"
    if isinstance(cell, list) and not all(isinstance(label, str) and label.strip() for label in cell):
        return f"the labels {str(cell)[:60]} are not all texts; write the classes' names"
    if before and not _is_missing(before[0]) and _label_kind(cell) != _label_kind(before[0]):
        first = f"the first one, {str(before[0])[:40]!r}, a {_label_kind(before[0])}"
        return f"the label {str(cell)[:40]!r} is a {_label_kind(cell)}, {first}"
    return None


def _label_kind(cell: object) -> str:
    return {str: "text", list: "list", bool: "truth value"}.get(type(cell), "number")
