"""Wide recipes drawn from a table, or from two tables that share keys."""

import random
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

from wideseek_data.atlas.wide import roundest
from wideseek_data.tables.table import ColumnType, Table
from wideseek_data.tables.values import date_precision, is_missing, normalized, read_date
from wideseek_data.tasks.apply import written
from wideseek_data.tasks.quality import askable, groups, is_additive, is_rank
from wideseek_data.tasks.recipes import (
    Comparison,
    Condition,
    Grouping,
    Measure,
    Top,
    WideRecipe,
    WideShape,
)

MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 3, 50, 8
_LETTERS = re.compile(r"[^\W\d_]{2}")


def draw_wide(table: Table, shape: WideShape, rng: random.Random) -> Iterator[WideRecipe]:
    """One recipe of a shape on one table, or none if the table is no good for it."""
    asked = askable(table)
    if not asked:
        return
    if shape is WideShape.GROUPS:
        yield from _grouped(table, rng)
        return
    top: Top | None = None
    conditions: tuple[Condition, ...] = ()
    if shape is WideShape.TOP:
        top = _top(table, rng)
        if top is None:
            return
    elif shape is WideShape.ALL:
        if not table.complete:
            return
    else:
        conditions = _conditions(table, shape, rng)
        if not conditions:
            return
    used = {item.column for item in conditions if item.comparison is Comparison.EQUAL}
    columns = (table.key, *_some([name for name in asked if name not in used], table, top, rng))
    if len(columns) > 1:
        yield WideRecipe(
            shape=shape,
            table=table.id,
            columns=columns,
            labels=columns,
            conditions=conditions,
            top=top,
        )


def _some(names: Sequence[str], table: Table, top: Top | None, rng: random.Random) -> list[str]:
    """Some of the columns, in the table's order, the ranked one always among them."""
    count = min(len(names), rng.choice((1, 2, 2, 3, 3, 4, 5, MAX_COLUMNS - 1)))
    chosen = set(rng.sample(list(names), count))
    if top is not None:
        chosen.add(top.column)
    return [name for name in table.names if name in chosen][: MAX_COLUMNS - 1]


def _conditions(table: Table, shape: WideShape, rng: random.Random) -> tuple[Condition, ...]:
    equal = equal_condition(table, rng) if shape in (WideShape.EQUAL, WideShape.BOTH) else None
    within = range_condition(table, rng) if shape in (WideShape.RANGE, WideShape.BOTH) else None
    wanted = {WideShape.EQUAL: (equal,), WideShape.RANGE: (within,)}.get(shape, (equal, within))
    found = tuple(item for item in wanted if item is not None)
    return found if len(found) == len(wanted) else ()


def equal_condition(table: Table, rng: random.Random, *, least: int = MIN_ROWS) -> Condition | None:
    """A value that several rows share, but not all."""
    options = [
        Condition(column=name, comparison=Comparison.EQUAL, value=value)
        for name in askable(table)
        for value, count in groups(table, name).items()
        if least <= count < len(table.rows)
    ]
    return rng.choice(options) if options else None


def ordered(table: Table) -> list[str]:
    """The columns by which rows can be picked: comparable, of one precision, clearly named."""
    names = [name for name in askable(table) if table.column(name).is_ordered]
    if table.column(table.key).is_ordered:
        names.append(table.key)
    return [
        name
        for name in names
        if table.column(name).type is not ColumnType.DATE or date_precision(table.cells(name))
    ]


def range_condition(table: Table, rng: random.Random) -> Condition | None:
    """A bound, or two, that part the rows of an ordered column."""
    names = ordered(table)
    if not names:
        return None
    name = rng.choice(names)
    column = table.column(name)
    if column.type is ColumnType.DATE:
        return _dates(table, name, rng)
    sizes = sorted(
        {size for row in range(len(table.rows)) if (size := table.size(row, name)) is not None}
    )
    cuts = [(low, high) for low, high in pairwise(sizes) if roundest(low, high) is not None]
    if is_rank(name) or not cuts or len(sizes) < MIN_ROWS:
        return None
    above = rng.random() < 0.6
    bound = _bound(*rng.choice(cuts), above=above)
    return Condition(
        column=name,
        comparison=Comparison.ABOVE if above else Comparison.BELOW,
        value=_as_written(table, name, bound),
    )


def _bound(low: float, high: float, *, above: bool) -> float:
    """A short number that parts two others; between whole numbers it is whole."""
    found = roundest(low, high)
    if found is not None and (found.is_integer() or not (low.is_integer() and high.is_integer())):
        return found
    return low if above else high


def _as_written(table: Table, name: str, bound: float) -> str:
    """A bound as the column writes its numbers, with unit and separators."""
    column, cells = table.column(name), table.cells(name)
    text = written(Decimal(str(bound)))
    if any("," in cell for cell in cells):
        text = f"{Decimal(text):,f}"
    if column.type is ColumnType.MONEY:
        return f"{column.unit}{text}"
    if not column.unit:
        return text
    return f"{text}{column.unit}" if column.unit == "%" else f"{text} {column.unit}"


def _dates(table: Table, name: str, rng: random.Random) -> Condition | None:
    cells = [cell for cell in dict.fromkeys(table.cells(name)) if not is_missing(cell)]
    cells.sort(key=lambda cell: read_date(cell) or 0.0)
    if len(cells) < MIN_ROWS:
        return None
    way = rng.random()
    if way < 0.4:
        first, last = sorted(rng.sample(range(len(cells)), 2))
        return Condition(
            column=name, comparison=Comparison.BETWEEN, value=cells[first], upper=cells[last]
        )
    if way < 0.6 and date_precision(cells) == "day":
        year = cells[rng.randrange(len(cells))].strip()
        found = [
            part for part in year.replace("-", " ").split() if len(part) == 4 and part.isdigit()
        ]
        if found:
            return Condition(
                column=name,
                comparison=Comparison.BETWEEN,
                value=f"1 January {found[0]}",
                upper=f"31 December {found[0]}",
            )
    bound = rng.choice(cells[1:-1])
    above = rng.random() < 0.5
    return Condition(
        column=name, comparison=Comparison.ABOVE if above else Comparison.BELOW, value=bound
    )


def rankable(table: Table) -> list[str]:
    """The columns whose largest or smallest value means something: full, and no mere numbering."""
    return [name for name in ordered(table) if not is_rank(name) and table.is_full(name)]


def _top(table: Table, rng: random.Random) -> Top | None:
    names = [name for name in rankable(table) if name != table.key]
    if not names or len(table.rows) <= MIN_ROWS + 1:
        return None
    count = rng.randint(MIN_ROWS, min(12, len(table.rows) - 1))
    return Top(column=rng.choice(names), count=count, largest=rng.random() < 0.75)


def _grouped(table: Table, rng: random.Random) -> Iterator[WideRecipe]:
    by = [name for name in askable(table) if is_grouping(table, name)]
    if not by or not table.complete:
        return
    column = rng.choice(by)
    measures = [(Measure.COUNT, "")]
    full = [name for name in askable(table) if name != column and table.is_full(name)]
    measures += [(Measure.SUM, name) for name in full if is_additive(table, name)]
    measures += [
        (Measure.MAX, name)
        for name in rankable(table)
        if table.column(name).type is ColumnType.NUMBER
    ]
    measure, of = rng.choice(measures)
    yield WideRecipe(
        shape=WideShape.GROUPS,
        table=table.id,
        columns=(column,),
        labels=(column, measure.value),
        grouping=Grouping(column=column, measure=measure, of=of, label=measure.value),
    )


def is_grouping(table: Table, name: str) -> bool:
    """Whether a column parts the rows into few groups, some with several rows."""
    counts = groups(table, name)
    full = table.is_full(name) and sum(counts.values()) == len(table.rows)
    full = full and all(_LETTERS.search(value) for value in counts)
    return full and MIN_ROWS <= len(counts) <= 0.7 * len(table.rows)


def draw_join(first: Table, second: Table, rng: random.Random) -> Iterator[WideRecipe]:
    """A recipe that joins two tables by equal keys, if enough keys are in both."""
    shared = {normalized(key) for key in first.cells(first.key)} & {
        normalized(key) for key in second.cells(second.key)
    }
    here, there = askable(first), askable(second)
    if not MIN_ROWS <= len(shared) <= MAX_ROWS or not here or not there:
        return
    if not (first.complete and second.complete) or first.title == second.title:
        return
    columns = _some(here, first, None, rng)[:3]
    others = _some(there, second, None, rng)[:3]
    both = set(columns) & set(others)
    labels = [f"{name} (first)" if name in both else name for name in columns]
    labels += [f"{name} (second)" if name in both else name for name in others]
    yield WideRecipe(
        shape=WideShape.JOIN,
        table=first.id,
        other=second.id,
        columns=(first.key, *columns),
        other_columns=tuple(others),
        labels=(first.key, *labels),
    )
