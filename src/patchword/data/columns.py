"""Which column of a table is the text, the image, the label; and what is wrong with its cells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchword.data.arrow_cells import ArrowValue
from patchword.data.label_cells import list_in
from patchword.data.tables import IMAGE_ENDINGS, SAMPLE_ROWS, Filter, Modality, rows
from patchword.errors import UserError, did_you_mean

_KNOWN = {  # names that say what a column is, the surest first
    "text": "text sentence content body message review document description comment tweet utterance article",
    "image": "image img picture photo image_path img_path image_file",
    "label": "label labels class category topic target sentiment intent tag tags y score rating class_name",
}
_PAIRS = (  # of which both are texts of one example
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("query", "passage"),
    ("question", "context"),
)


class Problems:
    """What is wrong with the rows of tables, gathered so that one message names several.

    Args:
        told: is given all of them, a sentence each; then nothing stops.
    """

    def __init__(self, told: list[str] | None = None) -> None:
        self.count = 0
        self.told = told
        self._places: list[str] = []

    def note(self, problem: str | None, path: Path, number: int) -> None:
        if problem is not None:
            self.count += 1
            place = f"{path}, row {number}: {problem}" if number else f"{path}: {problem}"
            if len(self._places) < 5:
                self._places.append(place)
            if self.told is not None:
                self.told.append(place)

    def stop(self) -> None:
        """A UserError if anything was noted, and is not told otherwise."""
        if self.count and self.told is None:
            raise self.error()

    def error(self, otherwise: str = "") -> UserError:
        """What was noted; `otherwise` is a sentence on what else can be done about it."""
        if self.count == 1:
            return UserError(f"{self._places[0]}. Mend or remove the row. {otherwise}".rstrip())
        more = [f"and {self.count - len(self._places)} more"] if self.count > len(self._places) else []
        end = [otherwise] if otherwise else []
        return UserError("\n".join([f"Mend or remove {self.count} rows:", *self._places, *more, *end]))


def wrong_text(cell: object, may_be_empty: bool = False) -> str | None:
    """What keeps a cell from being a text, or None."""
    if not isinstance(cell, str):
        if isinstance(cell, ArrowValue) and "string" in type_name(cell):
            return f"the text {str(cell)[:40]!r} is not UTF-8"
        return "no text" if cell is None else f"{str(cell)[:40]!r} is of type {type_name(cell)}, not a text"
    if not may_be_empty and (not cell or cell.isspace()):
        return "the text is empty"
    if not cell.isascii() and re.search("[\ud800-\udfff]", cell):
        return "the text holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character"
    return None


def type_name(cell: object) -> str:
    """What a person calls the type of a cell: Python's, or Arrow's where Python has none."""
    return str(cell.array.type) if isinstance(cell, ArrowValue) else type(cell).__name__


def wrong_words(words: list[Any]) -> str | None:
    """What keeps a list from being the words of a sentence, or None."""
    if not words:
        return "there is no list of words"
    return next((f"a word: {problem}" for word in words if (problem := wrong_text(word))), None)


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
        cells = list(itertools.islice(every_row, SAMPLE_ROWS))
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

    def pair_columns(
        self, text_column: str | None, pair_column: str | None, not_this: str | None = None
    ) -> tuple[str, str, str] | None:
        """The columns of two texts that are one example: as given, or by their names; None where there is one text."""
        if pair_column is not None:
            second, _ = self._given("pair", pair_column)
            partners = [name for pair in _PAIRS if second.lower() in pair for name in pair if name != second.lower()]
            first = text_column or next((c for c in self.columns if c.lower() in partners), None)
            if first is None:
                rest = Sample(self.name, [c for c in self.columns if c != second], self.cells)
                first, _ = rest.text_column(None, not_this)
            self._given("text", first)
            if first == second:
                raise UserError(f"The column '{first}' can not be both texts of a pair.")
            return first, second, f"pairs of texts: '{first}' and '{second}' (as asked)"
        if text_column is not None:
            return None
        texts = {c.lower(): c for c in self.columns if c != not_this and self._all(c, _is_text)}
        for one, other in _PAIRS:
            if one in texts and other in texts:
                first, second = texts[one], texts[other]
                return first, second, f"pairs of texts: '{first}' and '{second}' (--text-column names one alone)"
        return None

    def image_column(self, given: str | None = None) -> tuple[str, str] | None:
        """The column with images (bytes, or paths that end like an image), or None if there is none."""
        if given is not None:
            return self._given("image", given)
        images = [c for c in self.columns if self._all(c, _is_image)]
        # An empty or odd cell among paths is a wrong row, not another kind of column.
        paths = [c for c in self.columns if self._mostly(c, _is_image_path)]
        found = self._well_known("image", images) or self._well_known("image", images + paths)
        if found is None and not self._well_known("text", self.columns):
            images += paths
        if found is None and images:
            found = images[0]
        return None if found is None else (found, f"image column: '{found}'")

    def label_column(self, given: str | None, not_these: Sequence[str], guess: bool) -> tuple[str, str] | None:
        """The column with the labels: as given, by its name, else, with `guess`, the one with few values."""
        if given is not None:
            return self._given("label", given)
        others = [c for c in self.columns if c not in not_these and not self._all(c, _is_image)]
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

    def holds_lists(self, column: str) -> bool:
        """Whether the cells of a column are lists that are written as text."""
        return self._all(column, _is_list_in_text)

    def _values(self, column: str) -> list[Any]:
        return [row[column] for row in self.cells if row.get(column) is not None]

    def _all(self, column: str, test: Callable[[object], bool]) -> bool:
        values = self._values(column)
        return bool(values) and all(map(test, values))

    def _mostly(self, column: str, test: Callable[[object], bool]) -> bool:
        values = [value for value in self._values(column) if not isinstance(value, str) or value.strip()]
        return 2 * sum(map(test, values)) > len(values)

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


def _is_list_in_text(cell: object) -> bool:
    try:
        return isinstance(cell, str) and list_in(cell) is not None
    except ValueError:
        return True


def _is_image(cell: object) -> bool:
    return isinstance(cell, bytes) or (isinstance(cell, dict) and bool(cell.keys() & {"bytes", "path"}))


def _is_image_path(cell: object) -> bool:
    return isinstance(cell, str) and cell.lower().endswith(IMAGE_ENDINGS)
