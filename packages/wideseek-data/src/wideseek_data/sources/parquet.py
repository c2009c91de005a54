"""Parquet files as rows of text."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet

from wideseek_core import CorruptFile
from wideseek_core.text import one_line

# The library comes without types.
_parquet: Any = pyarrow.parquet
_errors: tuple[type[Exception], ...] = (
    cast(Any, pyarrow).ArrowException,
    OSError,
)

MAX_ROWS = 1000
"""A longer file is no table to ask about as a whole: its first rows are taken."""


def parquet_rows(path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]], bool]:
    """Column names, rows, and whether these are all rows. Raises `CorruptFile`."""
    try:
        table: Any = _parquet.read_table(path)
        part = table.slice(0, MAX_ROWS)
        columns = [_cells(column) for column in part.columns]
    except _errors as error:
        raise CorruptFile(f"{path}: not Parquet that can be read: {one_line(str(error))}") from None
    rows = zip(*columns, strict=True) if columns else ()
    names: list[str] = table.column_names
    return tuple(names), list(rows), part.num_rows == table.num_rows


def _cells(column: Any) -> list[str]:
    """The cells of a column as text."""
    kind = str(column.type)
    try:
        values: list[object] = column.to_pylist()
    except (ValueError, OverflowError):  # times that Python has no values for
        values = column.cast("string").to_pylist()
    digits = {"halffloat": 3, "float": 7}.get(kind)
    if digits is not None:
        # Python's floats are longer, and would show digits that the file does not have.
        values = [float(f"{value:.{digits}g}") if isinstance(value, float) else value
                  for value in values]  # fmt: skip
    return [_as_text(value) for value in values]


def _as_text(value: object) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        text = format(Decimal(repr(value)), "f")
        return text.removesuffix(".0")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
