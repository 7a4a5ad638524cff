"""Cells with labels: what kind they are, and numbers and lists that a table without types holds as text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
REGRESSION = "regression"
SEPARATORS = re.compile(r"[|;]")
"""Between the labels of a cell of a table that can hold no list."""

_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LISTS = re.compile(rf"\s*[\[({{]\s*(?:{_STRING}\s*(?:,\s*{_STRING}\s*)*,?\s*)?[\])}}]\s*", re.S)
"""Strings in quotes with commas between them: Python would join two without one, as numpy writes them, to one."""
_LIKE_A_LIST = re.compile(r"""\s*(?:\[\s*\]|\(\s*\)|[\[({]\s*['"].*[\])}]|\[.*,.*\])\s*""", re.S)
_NUMBERS = re.compile(r"\s*\[[\d\s,.+-]*\]\s*")


class NumberText(float):
    """A number as a table without types has it: its value, and `str` of it as it is written there, such as 1.10."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        """Of a text with a decimal point or comma."""
        number = super().__new__(cls, text.replace(",", "."))
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __reduce__(self) -> tuple[type[NumberText], tuple[str]]:
        return NumberText, (self.text,)


def numbers_in(labels: Sequence[str]) -> list[NumberText] | None:
    """The labels of a column as numbers, if all are written as such and one is no whole number; else None.

    Decimal commas are read where all labels can have one and they are no thousands (1,250), which nobody knows.
    """
    plain = [label.strip() for label in labels]
    if all(map(_DECIMAL.fullmatch, plain)):
        return list(map(NumberText, labels)) if any("." in x or "e" in x.lower() for x in plain) else None
    if all(map(_WITH_COMMA.fullmatch, plain)) and not all("," not in x or _THOUSANDS.fullmatch(x) for x in plain):
        return list(map(NumberText, labels))
    return None


def list_in(cell: str) -> list[Any] | None:
    """The labels of a cell that holds a list as text, as pandas, Python or JSON write it; None if it is no list.

    Raises:
        ValueError: it looks like a list, but its items can not be told apart.
    """
    if not cell.rstrip().endswith(("]", ")", "}")) or _LIKE_A_LIST.fullmatch(cell) is None:
        return None
    try:
        if _NUMBERS.fullmatch(cell):
            return list(json.loads(cell))
        if _LISTS.fullmatch(cell):
            try:
                found = json.loads(cell)
            except ValueError:
                found = ast.literal_eval(cell.strip())
            return sorted(found) if isinstance(found, set) else [found] if isinstance(found, str) else list(found)
    except (ValueError, SyntaxError):
        pass
    raise ValueError(
        f'{cell[:60]!r} looks like a list, but can not be read as one; write ["a", "b"], or a|b with '
        "--problem multi_label_classification"
    )


def labels_of(value: Any, known: Collection[str] = ()) -> Sequence[Any]:
    """The labels of a cell: a list, or a text that is cut at "|" and ";" unless it is a label as it is."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str) and value not in known:
        return [part.strip() for part in SEPARATORS.split(value) if part.strip()]
    return [value]


def problem_of(values: Sequence[Any]) -> str:
    """Lists are several classes a row, numbers of which one has decimals are a number, all else is one class a row."""
    if any(isinstance(value, list | tuple) for value in values):
        return MULTI
    numbers = all(isinstance(value, float | int | Decimal) and not isinstance(value, bool) for value in values)
    return REGRESSION if numbers and any(map(_is_decimal, values)) else SINGLE


def _is_decimal(value: Any) -> bool:
    """Whether a number is of a kind that has decimals."""
    return isinstance(value, float) or (isinstance(value, Decimal) and "." in f"{value:f}")
