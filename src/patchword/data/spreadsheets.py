"""Excel files (.xlsx): the first sheet that has rows, as a table, with what a person sees in its cells."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from patchword.data.column_names import Row, check_columns, header_of
from patchword.errors import Notice, UserError

_FORMULA = re.compile(rb"<f[ />]")
_MIDNIGHT = datetime.time()


def spreadsheet_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    """The rows below the header, by the number that the spreadsheet shows.

    Whole numbers are `int`, dates and times text as ISO 8601 has them, errors such as #N/A empty. A merged cell stands
    in each of its places. A formula has the value that was computed when the file was saved. A column with a text in it
    is one of texts, as in a .csv.

    Raises:
        UserError: the file can not be read, openpyxl is missing, or the sheet has no header.
    """
    status = path.stat()
    header, table, note = _table(path, status.st_size, status.st_mtime_ns)
    if note:
        warnings.warn(note, Notice, stacklevel=2)
    check_columns(path, wanted, header)
    for number, cells in table:
        yield number, dict(zip(header, cells, strict=True))


@lru_cache(maxsize=2)
def _table(path: Path, size: int, changed: int) -> tuple[list[str], list[tuple[int, list[Any]]], str]:
    """Header, rows with their numbers, and what is to be reported."""
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"{path}: .xlsx files are read with openpyxl, which is not installed: pip install 'patchword[xlsx]'. Or "
            'save the sheet as "CSV UTF-8".'
        ) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of styles and extensions that it leaves out
            book = openpyxl.load_workbook(path, data_only=True)
    except Exception as error:  # a damaged file makes it raise nearly anything
        raise UserError(f"{path} can not be read as .xlsx: {str(error)[:200] or type(error).__name__}.") from None
    filled = [sheet for sheet in book.worksheets if any(any(_value(cell) is not None for cell in row) for row in sheet)]
    shown = [sheet for sheet in filled if sheet.sheet_state == "visible"] or filled
    if not shown:
        raise UserError(f"{path} has no rows.")
    sheet = shown[0]
    notes = []
    if len(filled) > 1:
        names = ", ".join(f"'{other.title}'" for other in filled)
        notes.append(f"{path} has {len(filled)} sheets with rows ({names}); '{sheet.title}' is read, the first.")
    grid = [[_value(cell) for cell in row] for row in sheet.iter_rows()]
    for merged in sheet.merged_cells.ranges:
        value = grid[merged.min_row - 1][merged.min_col - 1]
        for line in grid[merged.min_row - 1 : merged.max_row]:
            line[merged.min_col - 1 : merged.max_col] = [value] * (merged.max_col - merged.min_col + 1)
    while grid and not any(cell is not None for cell in grid[-1]):
        grid.pop()
    first = next(number for number, line in enumerate(grid) if any(cell is not None for cell in line))
    used = [i for i in range(len(grid[first])) if any(line[i] is not None for line in grid[first:])]
    header = header_of(path, ["" if grid[first][i] is None else str(grid[first][i]) for i in used])
    columns = [_column([line[i] for line in grid[first + 1 :]]) for i in used]
    if uncomputed := _uncomputed(path, openpyxl, sheet.title):
        notes.append(
            f"{path}: {len(uncomputed):,} formulas of the sheet have no value, such as that in {uncomputed[0]}; they "
            "are empty. Open the file in a spreadsheet and save it, which computes them."
        )
    table = [(first + 2 + number, list(cells)) for number, cells in enumerate(zip(*columns, strict=True))]
    return header, table, " ".join(notes)


def _value(cell: Any) -> Any:
    value = cell.value
    if cell.data_type == "e" or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, datetime.datetime):
        return str(value.date() if value.time() == _MIDNIGHT else value)
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _column(cells: list[Any]) -> list[Any]:
    """With a text among them all are texts, as the spreadsheet shows them."""
    if not any(isinstance(cell, str) for cell in cells):
        return cells
    return [str(cell).upper() if isinstance(cell, bool) else None if cell is None else str(cell) for cell in cells]


def _uncomputed(path: Path, openpyxl: Any, title: str) -> list[str]:
    """The cells of a sheet with a formula that no program has computed; most files have no formulas."""
    with zipfile.ZipFile(path) as parts:
        sheets = (name for name in parts.namelist() if name.startswith("xl/worksheets/"))
        if not any(_FORMULA.search(parts.read(name)) for name in sheets):
            return []
    with warnings.catch_warnings(action="ignore"):
        formulas = openpyxl.load_workbook(path)[title]
        values = openpyxl.load_workbook(path, data_only=True)[title]
    cells = (cell for row in formulas.iter_rows() for cell in row if cell.data_type == "f")
    return [cell.coordinate for cell in cells if values[cell.coordinate].value is None]
