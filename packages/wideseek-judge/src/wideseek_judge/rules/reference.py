"""The reference of a task: its table, cut to the required columns, with a rule for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

from wideseek_core import ColumnRule, DataError, TableGold
from wideseek_core.comparators import check_rule
from wideseek_core.tables import MarkdownTable, parse_csv, parse_table
from wideseek_judge.rules.columns import column_name

Row = tuple[str, ...]

JUDGED = ColumnRule(metric=("llm_judge",))
"""How a column without a rule is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference table in the order of its required columns."""

    columns: Row
    """Names in the form in which they are compared."""
    keys: tuple[int, ...]
    """Positions of the key columns."""
    rules: tuple[ColumnRule, ...]
    """How each column is compared."""
    rows: list[Row]
    normalize_columns: bool = True
    """Whether names of columns match without case, blanks and markup, and may be aligned."""

    def key(self, row: Row) -> Row:
        """The key cells of a row."""
        return tuple(row[at] for at in self.keys)

    @property
    def judged(self) -> list[int]:
        """Positions of the columns that the judge has a say in."""
        return [
            at
            for at, rule in enumerate(self.rules)
            if at not in self.keys and ("llm_judge" in rule.metric or not rule.metric)
        ]


def check_gold(gold: TableGold) -> None:
    """Raises `DataError` for a reference that no answer could be scored against."""
    read_reference(gold)


def read_reference(gold: TableGold) -> Reference:
    """The reference table; rows whose key came before are dropped. Raises `DataError`."""
    table = _table(gold.text, gold.format)
    if table is None:
        raise DataError("the reference holds no table")
    form = partial(column_name, normalize=gold.normalize_columns)
    names = list(map(form, table.columns))
    columns = tuple(dict.fromkeys(map(form, gold.required_columns or table.columns)))
    keys = tuple(dict.fromkeys(map(form, gold.key_columns or columns)))
    absent = [name for name in columns if name not in names]
    if absent:
        raise DataError(f"the reference table has no column {absent[0]!r}")
    stray = [name for name in keys if name not in columns]
    if stray:
        raise DataError(f"key column {stray[0]!r} is not among the required columns")
    given = {form(name): rule for name, rule in gold.rules.items()}
    for name, rule in given.items():
        check_rule(name, rule)
    key_positions = tuple(columns.index(name) for name in keys)
    return Reference(
        columns=columns,
        keys=key_positions,
        rules=tuple(given.get(name, JUDGED) for name in columns),
        rows=_distinct(table.rows, [names.index(name) for name in columns], key_positions),
        normalize_columns=gold.normalize_columns,
    )


def _distinct(rows: Sequence[Row], taken: Sequence[int], keys: Sequence[int]) -> list[Row]:
    """Rows cut to the taken columns; of those with one key the first."""
    by_key: dict[Row, Row] = {}
    for row in rows:
        cut = tuple(row[at] for at in taken)
        by_key.setdefault(tuple(cut[at] for at in keys), cut)
    return list(by_key.values())


@lru_cache(maxsize=1024)
def _table(text: str, form: Literal["markdown", "csv"]) -> MarkdownTable | None:
    """Remembered, since the same reference is read for every answer."""
    text = text.lstrip("\ufeff")
    return parse_csv(text) if form == "csv" else parse_table(text)
