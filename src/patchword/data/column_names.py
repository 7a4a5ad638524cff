"""Names of the columns of a table, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchword.errors import UserError, did_you_mean

Row = tuple[int, dict[str, Any]]
"""The number that a person finds a row by, and its cells."""


def check_columns(path: Path, wanted: Sequence[str] | None, names: Sequence[str]) -> None:
    """A UserError if a wanted column is not among the names."""
    for name in wanted or ():
        if name not in names:
            raise UserError(
                f"{path} has no column '{name}'; its columns are: {', '.join(names)}{did_you_mean(name, names)}"
            )


def checked_names(path: Path, names: Sequence[str]) -> list[str]:
    """The names; two columns of one name are a UserError."""
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has two columns named '{name}'. Rename one of them.")
    return list(names)


def header_of(path: Path, cells: Sequence[str]) -> list[str]:
    """The names in the first row of a table.

    Raises:
        UserError: the row holds values, a column has no name, or two have one.
    """
    names = [cell.strip() for cell in cells]
    if any(number(name) is not None for name in names) or any(len(name) > 200 for name in names):
        first = ", ".join(name[:40] for name in names[:4])
        raise UserError(f"The first line of {path} must name the columns, such as text,label; it is: {first}")
    if "" in names[1:]:  # the first may be empty: pandas writes its index so
        raise UserError(f"{path}: column {names.index('', 1) + 1} of {len(names)} has no name in the header.")
    return checked_names(path, names)


def number(text: str) -> float | None:
    """The number that a text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None
