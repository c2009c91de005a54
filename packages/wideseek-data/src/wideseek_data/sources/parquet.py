"""Parquet files as rows of text."""

from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet

from wideseek_core import CorruptFile

# The library comes without types.
_parquet: Any = pyarrow.parquet
_errors: tuple[type[Exception], ...] = (cast(Any, pyarrow).ArrowException, OSError)

MAX_ROWS = 1000
"""A longer file is no table to ask about as a whole: its first rows are taken."""


def parquet_rows(path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Column names and rows. Raises `CorruptFile`."""
    try:
        table: Any = _parquet.read_table(path).slice(0, MAX_ROWS)
    except _errors as error:
        raise CorruptFile(f"{path}: not Parquet: {error}") from None
    columns: list[list[object]] = [column.to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True) if columns else ()
    names: list[str] = table.column_names
    return tuple(names), [tuple(map(_as_text, row)) for row in rows]


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
