"""Reference tables of task files: columns, keys, rules, number of rows.

Only as much of a table is read here as a task needs; comparing tables is a judge's business.
"""

import csv
import io
import itertools
import re
from typing import Literal, cast

from wideseek_core import ColumnRule, DataError, TableGold
from wideseek_core.comparators import check_rule
from wideseek_eval.datasets.json_objects import Row, mapping_of, short

_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_SEPARATOR = re.compile(r"^[|\-: \t]+$")
_PIPE = re.compile(r"(?<!\\)\|")


def looks_like_table(text: str) -> bool:
    """True if the text holds a Markdown table: a line with pipes and a separator below it."""
    pairs = itertools.pairwise(text.splitlines())
    return any("|" in above and "-" in below and _SEPARATOR.match(below) for above, below in pairs)


def read_cells(text: str, kind: Literal["markdown", "csv"]) -> list[list[str]]:
    """Header and rows of the first table in a text. Raises `DataError` if there is none."""
    return markdown_cells(text) if kind == "markdown" else csv_cells(text)


def markdown_cells(text: str) -> list[list[str]]:
    """Header and rows of the first table in a Markdown text."""
    fenced = _FENCE.search(text)
    block = fenced.group(1) if fenced else text
    lines = [line.strip() for line in block.splitlines() if "|" in line]
    lines = [line for line in lines if not _SEPARATOR.match(line)]
    if not lines:
        raise DataError("the answer holds no Markdown table")
    return [_cells(line) for line in lines]


def _cells(line: str) -> list[str]:
    inner = line.removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _PIPE.split(inner)]


def csv_cells(text: str) -> list[list[str]]:
    """Header and rows of a CSV text."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise DataError(f"not CSV: {error}") from None
    if not rows:
        raise DataError("the table is empty")
    return rows


def norm_column(name: str) -> str:
    """A column's name as names are compared: lower case, no spaces."""
    return name.replace(" ", "").lower()


def read_gold(row: Row, text: str, kind: Literal["markdown", "csv"]) -> tuple[TableGold, int]:
    """The reference table of a row, and how many rows it has.

    `required` and `unique_columns` stand in `evaluation`, or beside it; without `required` it is
    every column of the table.
    """
    header, *rows = read_cells(text, kind)
    evaluation = mapping_of(row, "evaluation")
    required = _names(evaluation, row, "required") or tuple(header)
    keys = _names(evaluation, row, "unique_columns")
    if not keys:
        raise DataError("missing 'unique_columns'")
    known = {norm_column(name) for name in required}
    _all_in(keys, known, "'unique_columns'", "'required'")
    _all_in(required, {norm_column(name) for name in header}, "'required'", "the table")
    gold = TableGold(
        text=text,
        format=kind,
        key_columns=keys,
        required_columns=required,
        rules=_rules(evaluation),
    )
    return gold, len(rows)


def _all_in(names: tuple[str, ...], known: set[str], what: str, where: str) -> None:
    absent = [name for name in names if norm_column(name) not in known]
    if absent:
        raise DataError(f"{what} names {absent[0]!r}, which is not a column of {where}")


def _names(evaluation: Row, row: Row, key: str) -> tuple[str, ...]:
    value: object = evaluation.get(key, row.get(key))
    if value is None:
        return ()
    names = cast(list[object], value) if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{key!r} must be a list of column names, not {short(names)}")
    return tuple(str(name) for name in names)


def _rules(evaluation: Row) -> dict[str, ColumnRule]:
    pipeline = mapping_of(evaluation, "eval_pipeline")
    return {column: _rule(column, mapping_of(pipeline, column)) for column in pipeline}


def _rule(column: str, raw: Row) -> ColumnRule:
    criterion: object = raw.get("criterion")
    if criterion is not None and not isinstance(criterion, str | int | float):
        raise DataError(f"the criterion of {column!r} must be a number or text")
    rule = ColumnRule(
        preprocess=_functions(column, raw.get("preprocess")),
        metric=_functions(column, raw.get("metric")),
        criterion=criterion,
    )
    check_rule(column, rule)
    return rule


def _functions(column: str, value: object) -> tuple[str, ...]:
    names = cast(list[object], value) if isinstance(value, list) else [value] if value else []
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"column {column!r}: {short(name)} is no name of a function")
    return tuple(str(name) for name in names)
