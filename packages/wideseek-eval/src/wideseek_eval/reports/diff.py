"""An answer beside its reference, cell by cell, from the explanation that its score carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wideseek_core import KEY_JOINT, CellScore, DataError, Score, TableGold
from wideseek_eval.datasets.reference_tables import column_key, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffCell:
    """One cell: what was answered, and what would have been right."""

    answer: str = ""
    gold: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """One row of either table, or of both."""

    kind: Literal["joined", "missing", "extra"]
    cells: tuple[DiffCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """Rows in both tables first, then those missing from the answer, then those too many."""

    columns: tuple[str, ...]
    rows: tuple[DiffRow, ...]


def diff_tables(gold: TableGold, answer: str, score: Score) -> TableDiff:
    """What the score says about each cell.

    Of an answer without a usable table every row is missing.
    """
    columns = gold.required_columns
    by_key: dict[str, dict[str, CellScore]] = {}
    for cell in score.cells:
        by_key.setdefault(cell.key, {})[column_key(cell.column)] = cell
    rows = [_joined(cells, columns) for cells in by_key.values()]
    missing = _rows_by_key(gold, gold.text, gold.format)
    extra = _rows_by_key(gold, answer, "markdown")
    nothing = not (score.cells or score.missing_rows or score.extra_rows)
    for key in missing if nothing else score.missing_rows:
        cells = _found(missing, key, gold)
        rows.append(DiffRow(kind="missing", cells=tuple(DiffCell(gold=cell) for cell in cells)))
    for key in score.extra_rows:
        cells = _found(extra, key, gold)
        rows.append(DiffRow(kind="extra", cells=tuple(DiffCell(answer=cell) for cell in cells)))
    return TableDiff(columns=columns, rows=tuple(rows))


def _joined(cells: dict[str, CellScore], columns: Sequence[str]) -> DiffRow:
    found: list[DiffCell] = []
    for column in columns:
        cell = cells.get(column_key(column))
        if cell is None:
            found.append(DiffCell())
        else:
            found.append(DiffCell(answer=cell.answer, gold=cell.gold, score=cell.score))
    return DiffRow(kind="joined", cells=tuple(found))


def _rows_by_key(
    gold: TableGold, text: str, form: Literal["markdown", "csv"]
) -> dict[str, list[str]]:
    """Normalised key to the row's cells in the order of the required columns.

    For display only: a text that can't be read gives no rows.
    """
    try:
        table = read_table(text, form)
    except DataError:
        return {}
    places = {column_key(name): index for index, name in enumerate(table.columns)}
    wanted = [places.get(column_key(name), -1) for name in gold.required_columns]
    keys = [places.get(column_key(name), -1) for name in gold.key_columns]

    def pick(row: Sequence[str], index: int) -> str:
        return row[index] if 0 <= index < len(row) else ""

    return {
        _plain(KEY_JOINT.join(pick(row, index) for index in keys)): [
            pick(row, index) for index in wanted
        ]
        for row in table.rows
    }


def _found(rows: dict[str, list[str]], key: str, gold: TableGold) -> list[str]:
    """The row of a key; if the scorer changed the key past recognition, the key alone."""
    row = rows.get(_plain(key))
    if row is not None:
        return row
    names = {column_key(name) for name in gold.key_columns}
    parts = iter(key.split(KEY_JOINT))
    return [next(parts, "") if column_key(name) in names else "" for name in gold.required_columns]


def _plain(text: str) -> str:
    return "".join(text.lower().split()).replace("*", "")
