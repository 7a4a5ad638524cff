"""Parquet files as rows: only the columns that are wanted are read, and any type that Arrow has gets through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchword.data.arrow_cells import cells_of
from patchword.data.column_names import Row, check_columns, checked_names
from patchword.errors import UserError

_BATCH_BYTES = 8 << 20  # of a file in memory at a time


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """The file open; what can not be read is a UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # With a buffer, and without reading ahead, a row group of any size is never in memory as a whole.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can not be read as parquet: {str(error)[:300]}") from None


def parquet_rows(path: Path, wanted: Sequence[str] | None) -> Iterator[Row]:
    """The rows, counted from 1; class numbers by the names that `datasets` keeps beside them."""
    with parquet_file(path) as file:
        check_columns(path, wanted, checked_names(path, file.schema_arrow.names))
        metadata = file.metadata
        size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        batch_rows = max(1, min(4096, _BATCH_BYTES * metadata.num_rows // max(size, 1)))
        class_names = _class_names(file.schema_arrow)
        number = 0
        for batch in file.iter_batches(batch_rows, columns=None if wanted is None else list(dict.fromkeys(wanted))):
            for cells in _batch_rows(batch, class_names):
                number += 1
                yield number, cells


def _batch_rows(batch: Any, class_names: Mapping[str, list[str]]) -> Iterator[dict[str, Any]]:
    """The rows of a batch. A function of its own, so that what it holds is freed with it."""
    names = batch.schema.names
    columns = [cells_of(column) for column in batch.columns]
    for name, column in zip(names, columns, strict=True):
        if name in class_names:
            column[:] = [_named(cell, class_names[name]) for cell in column]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def arrow_types(path: Path) -> dict[str, Any]:
    """The columns and the types of their cells as `parquet_rows` gives them, as pyarrow has them."""
    import pyarrow as pa

    with parquet_file(path) as file:
        named = _class_names(file.schema_arrow)
        types = {field.name: field.type for field in file.schema_arrow}
    for name in named:
        types[name] = pa.list_(pa.string()) if pa.types.is_nested(types[name]) else pa.string()
    return types


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names that `datasets` keeps beside a column of class numbers, by column; none if they are not as it has them.

    Other programs may write anything under its key.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    found = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        if isinstance(feature, list) and len(feature) == 1:  # how a Sequence was written once
            feature = feature[0]
        elif isinstance(feature, Mapping) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        names = feature.get("names") if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names) and column in schema.names:
            found[column] = names
    return found


def _named(cell: Any, names: list[str]) -> Any:
    """A class number, or each of a list of them, by name; -1 stands for none."""
    if isinstance(cell, list):
        return [_named(item, names) for item in cell]
    if isinstance(cell, bool) or not isinstance(cell, int):
        return cell
    return names[cell] if 0 <= cell < len(names) else None
