"""Cells of Arrow tables: what Python has a type for as that, all else kept to the bit and shown as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

_ZEROS = re.compile(r"(\.\d*?)0+(?=$|Z|[+-]\d\d:?\d\d$)")


class ArrowValue:
    """One cell of a type that Python has no equal of: dates beyond its years, nanoseconds, maps, extension types, ...

    Args:
        array: a `pyarrow.Array`.
        row: of the cell.
    """

    __slots__ = ("array", "row")

    def __init__(self, array: Any, row: int) -> None:
        self.array, self.row = array, row

    def plain(self) -> Any:
        """As JSON has it: lists and objects; dates, times and durations as text with all their digits."""
        return _plain(self.array[self.row])

    def __str__(self) -> str:
        plain = self.plain()
        return plain if isinstance(plain, str) else str(plain)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrowValue) and bool(self.array[self.row].equals(other.array[other.row]))

    __hash__ = None  # type: ignore[assignment]


def cells_of(array: Any) -> list[Any]:
    """The cells of a column: Python's values, `ArrowValue` where there is none, None where a cell is empty."""
    import pyarrow as pa

    if pa.types.is_float32(array.type) or pa.types.is_float16(array.type):
        # The shortest number that is the same in the column's type: 0.1, not 0.10000000149011612.
        array = array.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    valid = array.is_valid().to_pylist()
    if not _has_python_type(array.type):
        return [ArrowValue(array, row) if there else None for row, there in enumerate(valid)]
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(array, row) if there else None for row, there in enumerate(valid)]


def _decoded(array: Any, row: int) -> Any:
    """A cell of a column with texts that are not UTF-8, which some writers do not check."""
    try:
        return array[row].as_py()
    except UnicodeDecodeError:
        return ArrowValue(array, row)


def array_of(cells: Sequence[Any], kind: Any) -> Any:
    """The column again, of that type; cells are as `cells_of` gives them.

    Raises:
        pyarrow.ArrowException, OverflowError: a cell does not fit.
    """
    import pyarrow as pa

    if not any(isinstance(cell, ArrowValue) for cell in cells):
        return pa.array(cells, kind)
    nothing = pa.nulls(1, kind)
    parts = [cell.array.slice(cell.row, 1) if isinstance(cell, ArrowValue) else nothing for cell in cells]
    return pa.concat_arrays([part if part.type == kind else part.cast(kind) for part in parts])


def _has_python_type(kind: Any) -> bool:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _has_python_type(kind.value_type)
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return _has_python_type(kind.value_type)
    if t.is_struct(kind):
        fields = list(_fields(kind))
        return len({field.name for field in fields}) == len(fields) and all(_has_python_type(f.type) for f in fields)
    simple = (t.is_null, t.is_boolean, t.is_integer, t.is_floating, t.is_decimal, t.is_string, t.is_large_string)
    more = (t.is_string_view, t.is_binary, t.is_large_binary, t.is_fixed_size_binary, t.is_binary_view)
    return any(test(kind) for test in (*simple, *more))


def _fields(kind: Any) -> Iterator[Any]:
    return (kind.field(i) for i in range(kind.num_fields))


def _plain(scalar: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as t

    kind = scalar.type
    if not scalar.is_valid:
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(scalar.value)
    if t.is_dictionary(kind):
        return _plain(scalar.dictionary[scalar.index.as_py()])
    if t.is_map(kind):
        pairs = [(_plain(pair[0]), _plain(pair[1])) for pair in scalar.values]
        keys = [key for key, _ in pairs]
        unique = all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)
        return dict(pairs) if unique else list(map(list, pairs))
    if t.is_struct(kind):
        named = [(field.name, _plain(scalar[i])) for i, field in enumerate(_fields(kind))]
        return dict(named) if len(dict(named)) == len(named) else list(map(list, named))
    if hasattr(scalar, "values") and scalar.values is not None and not t.is_union(kind):
        return [_plain(item) for item in scalar.values]
    if t.is_temporal(kind):
        return _time(scalar)
    if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
    try:
        return scalar.as_py()
    except Exception:  # a type that a later Arrow adds
        return str(scalar)


def _time(scalar: Any) -> str:
    import pyarrow as pa
    import pyarrow.types as t

    kind = scalar.type
    if t.is_duration(kind):
        return f"{scalar.value} {kind.unit}"
    if t.is_interval(kind):
        return str(scalar)
    try:
        text = scalar.cast(pa.string()).as_py()
    except pa.ArrowException:  # a time zone that nobody knows
        text = scalar.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string()).as_py()
    if text.startswith("<"):  # a year that Arrow does not write
        return f"{scalar.value} {kind.unit if hasattr(kind, 'unit') else 'days'} since 1970"
    return _ZEROS.sub(lambda found: found[1].rstrip("."), text)
