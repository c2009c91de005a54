"""Rows of an answer and of its reference: cut to the required columns, joined by their keys."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal

from wideseek_core import ColumnRule, DataError, TableGold
from wideseek_core.comparators import check_rule
from wideseek_core.tables import MarkdownTable, parse_csv, parse_table
from wideseek_judge.rules.candidate_rows import Row, candidate_pairs
from wideseek_judge.rules.columns import column_name
from wideseek_judge.rules.strict import preprocess
from wideseek_judge.text.canonical import canonical
from wideseek_judge.verdicts import Alignment, Comparison, JudgingContext, KeyMap, Verdicts

Questions = Callable[[Sequence[tuple[Row, Row]]], Sequence[Comparison]]
"""What would be asked about joined rows."""

JUDGED = ColumnRule(metric=("llm_judge",))
"""How a column without a rule is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table cut to the required columns, in their order."""

    columns: Row
    keys: tuple[int, ...]
    """Positions of the key columns."""
    rules: tuple[ColumnRule, ...]
    """How each column is compared."""
    rows: list[Row]

    def key(self, row: Row) -> Row:
        """The key cells of a row."""
        return tuple(row[index] for index in self.keys)

    def shortened(self, rows: Sequence[Row]) -> list[Row]:
        """Rows with plain numbers cut to six digits, keys left whole: they must stay apart."""
        return [
            tuple(cell if at in self.keys else short_number(cell) for at, cell in enumerate(row))
            for row in rows
        ]


@dataclass(slots=True, kw_only=True)
class Join:
    """Which answer row stands for which reference row."""

    pairs: list[tuple[Row, Row]] = field(default_factory=list[tuple[Row, Row]])
    """Answer row and reference row, in the answer's order."""
    extra: list[Row] = field(default_factory=list[Row])
    missing: list[Row] = field(default_factory=list[Row])

    @property
    def answer_rows(self) -> int:
        """Rows of the answer that count."""
        return len(self.pairs) + len(self.extra)


@lru_cache(maxsize=1024)
def _reference_table(text: str, form: Literal["markdown", "csv"]) -> MarkdownTable | None:
    """Remembered, since the same reference is read for every answer."""
    text = text.lstrip("\ufeff")
    return parse_csv(text) if form == "csv" else parse_table(text)


def gold_grid(gold: TableGold) -> Grid:
    """The reference table; rows whose key came before are dropped. Raises `DataError`."""
    table = _reference_table(gold.text, gold.format)
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
    taken = [names.index(name) for name in columns]
    at = tuple(columns.index(name) for name in keys)
    rows: dict[Row, Row] = {}
    for row in table.rows:
        rows.setdefault(tuple(row[taken[index]] for index in at), tuple(row[i] for i in taken))
    return Grid(columns=columns, keys=at, rules=_rules(gold, columns), rows=list(rows.values()))


def _rules(gold: TableGold, columns: Row) -> tuple[ColumnRule, ...]:
    """The rule of each required column; the judge decides where there is none."""
    form = partial(column_name, normalize=gold.normalize_columns)
    given = {form(name): rule for name, rule in gold.rules.items()}
    for name, rule in given.items():
        check_rule(name, rule)
    return tuple(given.get(name, JUDGED) for name in columns)


def short_number(cell: str) -> str:
    """A cell that is a plain number, to six significant digits, as training compares them."""
    if not cell or cell[-1] not in "0123456789.":
        return cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    return f"{number:g}" if math.isfinite(number) else cell


async def join_rows(
    context: JudgingContext,
    target: Grid,
    rows: Sequence[Row],
    verdicts: Verdicts,
    questions: Questions,
) -> Join:
    """Joins rows one to one by key; `questions` are what will be asked about the joined rows.

    A row whose key surely came before is dropped without harm. One that only the judge found to
    name an entity that came before counts as an extra row.
    """
    aligned = await _align_keys(context, target, rows, verdicts, questions)
    by_key = {target.key(row): row for row in target.rows}
    free = dict(by_key)
    join = Join()
    seen: set[Row] = set()
    for row in rows:
        key = target.key(row)
        found = tuple(known.get(cell, cell) for known, cell in zip(aligned, key, strict=True))
        spelled = key if key in by_key else tuple(map(verdicts.identity, key))
        if spelled in seen:
            continue
        seen.add(spelled)
        gold = free.pop(found, None)
        if gold is not None:
            join.pairs.append((row, gold))
            if key != found:
                seen.add(found)
            else:
                seen.add(tuple(map(verdicts.identity, key)))
        else:
            join.extra.append(row)
    join.missing.extend(free.values())
    return join


async def _align_keys(
    context: JudgingContext,
    target: Grid,
    rows: Sequence[Row],
    verdicts: Verdicts,
    questions: Questions,
) -> list[KeyMap]:
    """What the values of each key column are called in the reference.

    Equal values first, then those made equal by the column's preprocessing, then the judge.
    """
    prepared = [_prepared(target, rows, at) for at in target.keys]

    def ahead(certain: Sequence[KeyMap]) -> Sequence[Comparison]:
        known = [one | two for one, two in zip(certain, prepared, strict=True)]
        return questions(candidate_pairs(rows, target.rows, target.keys, known))

    alignments = [
        _alignment(target, rows, at, known) for at, known in zip(target.keys, prepared, strict=True)
    ]
    found = await verdicts.align(context, alignments, ahead)
    return [one | two for one, two in zip(found, prepared, strict=True)]


def _prepared(target: Grid, rows: Sequence[Row], at: int) -> KeyMap:
    """The values of a key column that its preprocessing makes equal to a reference."""
    names = target.rules[at].preprocess
    references = dict.fromkeys(row[at] for row in target.rows)
    unknown = dict.fromkeys(row[at] for row in rows if row[at] not in references)
    if not names or not unknown:
        return {}
    spelled: KeyMap = {}
    for reference in references:
        spelled.setdefault(canonical(preprocess(reference, names)), reference)
    found = {value: spelled.get(canonical(preprocess(value, names))) for value in unknown}
    return {value: name for value, name in found.items() if name is not None}


def _alignment(target: Grid, rows: Sequence[Row], at: int, known: KeyMap) -> Alignment:
    """What is left to align of a key column; nothing if all its values are known."""
    references = list(dict.fromkeys(row[at] for row in target.rows))
    values = [value for value in dict.fromkeys(row[at] for row in rows) if value not in known]
    settled = set(values) <= set(references)
    return Alignment(
        column=target.columns[at], values=() if settled else values, references=references
    )
