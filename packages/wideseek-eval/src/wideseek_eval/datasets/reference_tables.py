"""Reference tables of task files: columns, keys, rules, number of rows.

Only as much of a table is read here as a task needs; comparing tables is the judge's business.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from wideseek_core import ColumnRule, DataError, TableGold
from wideseek_core.comparators import check_rule
from wideseek_core.tables import MarkdownTable, parse_csv, parse_table
from wideseek_eval.datasets.json_objects import JsonObject, mapping_of, short


def read_table(text: str, form: Literal["markdown", "csv"]) -> MarkdownTable:
    """The table of a text, as judges read it too. Raises `DataError` if there is none."""
    if form == "csv":
        table = parse_csv(text)
        if table is None:
            raise DataError("the table is empty")
        return table
    table = parse_table(text)
    if table is None:
        raise DataError("the answer holds no Markdown table")
    return table


def column_key(name: str, *, normalize: bool = True) -> str:
    """A column's name as names are compared: in lower case and without spaces, or as written."""
    return "".join(name.split()).lower() if normalize else name.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceReader:
    """Reads the reference tables of one file."""

    normalize_columns: bool = True
    """Whether column names are compared in lower case and without spaces."""
    chosen_keys: Counter[str] = field(default_factory=Counter[str])
    """Counts the key columns that were chosen because a task names none."""

    def read(
        self, values: JsonObject, text: str, form: Literal["markdown", "csv"]
    ) -> tuple[TableGold, int]:
        """The reference table of a task, and how many rows it has.

        `required` and `unique_columns` are in `evaluation`, or beside it. Without `required` it is
        every column of the table. Without `unique_columns` the key is the first required column
        whose values all differ, or else the first.
        """
        table = read_table(text, form)
        evaluation = mapping_of(values, "evaluation")
        named = _names(evaluation, values, "required")
        required = named or table.columns
        self._check(required, table.columns, "'required'", "the table")
        keys = _names(evaluation, values, "unique_columns")
        if keys:
            place = "'required'" if named else "the table"
            self._check(keys, required, "'unique_columns'", place)
        else:
            keys = (self._found_key(table, required),)
            self.chosen_keys[keys[0]] += 1
        gold = TableGold(
            text=text,
            format=form,
            key_columns=keys,
            required_columns=required,
            rules=_rules(evaluation),
            normalize_columns=self.normalize_columns,
        )
        return gold, len(table.rows)

    def _check(self, names: Iterable[str], known: Iterable[str], what: str, where: str) -> None:
        there = {self._key(name) for name in known}
        absent = next((name for name in names if self._key(name) not in there), None)
        if absent is not None:
            raise DataError(f"{what} names {absent!r}, which is not a column of {where}")

    def _found_key(self, table: MarkdownTable, required: tuple[str, ...]) -> str:
        places = {self._key(name): at for at, name in reversed(list(enumerate(table.columns)))}
        for name in required:
            cells = [row[places[self._key(name)]].casefold() for row in table.rows]
            if all(cells) and len(set(cells)) == len(cells):
                return name
        return required[0]

    def _key(self, name: str) -> str:
        return column_key(name, normalize=self.normalize_columns)


def _names(evaluation: JsonObject, values: JsonObject, key: str) -> tuple[str, ...]:
    value: object = evaluation.get(key, values.get(key))
    if value is None or value == "":
        return ()
    names = cast(list[object], value) if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{key!r} must be a list of column names, not {short(names)}")
    return tuple(str(name) for name in names)


def _rules(evaluation: JsonObject) -> dict[str, ColumnRule]:
    pipeline = mapping_of(evaluation, "eval_pipeline")
    return {column: _rule(column, mapping_of(pipeline, column)) for column in pipeline}


def _rule(column: str, raw: JsonObject) -> ColumnRule:
    criterion: object = raw.get("criterion")
    if criterion is not None and not isinstance(criterion, str | int | float):
        raise DataError(f"the criterion of {column!r} must be a number or text")
    rule = ColumnRule(
        preprocess=_functions(column, "preprocess", raw.get("preprocess")),
        metric=_functions(column, "metric", raw.get("metric")),
        criterion=criterion,
    )
    check_rule(column, rule)
    return rule


def _functions(column: str, kind: str, value: object) -> tuple[str, ...]:
    names = cast(list[object], value) if isinstance(value, list) else [value] if value else []
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{kind!r} of {column!r} must be a list of names, not {short(names)}")
    return tuple(str(name) for name in names)
