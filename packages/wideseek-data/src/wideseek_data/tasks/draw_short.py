"""Short recipes drawn from a table, or from two tables that share keys."""

import random
from collections.abc import Callable, Iterator

from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing, normalized
from wideseek_data.tasks.draw_wide import equal_condition, range_condition, rankable
from wideseek_data.tasks.quality import MAX_NAMED, askable, is_additive, nameable_keys
from wideseek_data.tasks.recipes import Comparison, Condition, ShortRecipe, ShortShape


def draw_short(table: Table, shape: ShortShape, rng: random.Random) -> Iterator[ShortRecipe]:
    """One recipe of a shape on one table, or none if the table is no good for it."""
    if askable(table):
        yield from _DRAW[shape](table, rng)


def _look_up(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    keys = nameable_keys(table)
    if keys:
        column = rng.choice(askable(table))
        key = rng.choice(keys)
        yield ShortRecipe(shape=ShortShape.LOOKUP, table=table.id, column=column, keys=(key,))


def _reverse(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    found = unique_condition(table, rng)
    if found is not None:
        yield ShortRecipe(
            shape=ShortShape.REVERSE, table=table.id, column=table.key, conditions=(found,)
        )


def unique_condition(table: Table, rng: random.Random) -> Condition | None:
    """A value that a single row has."""
    column = rng.choice(askable(table))
    plain = [normalized(cell) for cell in table.cells(column)]
    options = [
        cell
        for cell, text in zip(table.cells(column), plain, strict=True)
        if text
        and plain.count(text) == 1
        and len(cell) <= MAX_NAMED
        and not is_missing(cell)
        and not any(text != other and f" {text} " in f" {other} " for other in plain)
    ]
    if not options:
        return None
    return Condition(column=column, comparison=Comparison.EQUAL, value=rng.choice(options))


def _condition(table: Table, rng: random.Random) -> Condition | None:
    way = (equal_condition, range_condition)[rng.random() < 0.5]
    return equal_condition(table, rng, least=2) if way is equal_condition else way(table, rng)


def _count(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    found = _condition(table, rng)
    if found is not None and table.complete:
        yield ShortRecipe(
            shape=ShortShape.COUNT, table=table.id, column=table.key, conditions=(found,)
        )


def _sum(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    found = equal_condition(table, rng, least=2)
    columns = [name for name in askable(table) if is_additive(table, name) and table.is_full(name)]
    if found is not None and columns:
        yield ShortRecipe(
            shape=ShortShape.SUM, table=table.id, column=rng.choice(columns), conditions=(found,)
        )


def _extreme(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    columns = [name for name in rankable(table) if name != table.key]
    if columns:
        yield ShortRecipe(
            shape=ShortShape.EXTREME,
            table=table.id,
            column=table.key,
            by=rng.choice(columns),
            largest=rng.random() < 0.7,
        )


def _of_extreme(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    columns = rankable(table)
    if not columns:
        return
    by = rng.choice(columns)
    others = [name for name in askable(table) if name != by]
    if others:
        yield ShortRecipe(
            shape=ShortShape.OF_EXTREME,
            table=table.id,
            column=rng.choice(others),
            by=by,
            largest=rng.random() < 0.7,
        )


def _difference(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    keys = nameable_keys(table)
    columns = [name for name in askable(table) if is_additive(table, name)]
    if len(keys) >= 2 and columns:
        yield ShortRecipe(
            shape=ShortShape.DIFFERENCE,
            table=table.id,
            column=rng.choice(columns),
            keys=tuple(rng.sample(keys, 2)),
        )


def _compare(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    keys = nameable_keys(table)
    columns = [name for name in rankable(table) if name != table.key]
    if len(keys) >= 2 and columns:
        yield ShortRecipe(
            shape=ShortShape.COMPARE,
            table=table.id,
            column=table.key,
            by=rng.choice(columns),
            keys=tuple(rng.sample(keys, 2)),
            largest=rng.random() < 0.6,
        )


def _of_match(table: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    found = unique_condition(table, rng)
    if found is None:
        return
    others = [name for name in askable(table) if name != found.column]
    if others:
        yield ShortRecipe(
            shape=ShortShape.OF_MATCH,
            table=table.id,
            column=rng.choice(others),
            conditions=(found,),
        )


_DRAW: dict[ShortShape, Callable[[Table, random.Random], Iterator[ShortRecipe]]] = {
    ShortShape.LOOKUP: _look_up,
    ShortShape.REVERSE: _reverse,
    ShortShape.COUNT: _count,
    ShortShape.EXTREME: _extreme,
    ShortShape.OF_EXTREME: _of_extreme,
    ShortShape.DIFFERENCE: _difference,
    ShortShape.COMPARE: _compare,
    ShortShape.SUM: _sum,
    ShortShape.OF_MATCH: _of_match,
}
SINGLE_SHAPES = tuple(_DRAW)
"""The shapes that need one table."""


def draw_hop(first: Table, second: Table, rng: random.Random) -> Iterator[ShortRecipe]:
    """A question that finds a row in the first table and asks for it in the second."""
    columns = askable(second)
    if first.title == second.title or not columns or not askable(first):
        return
    by, conditions = "", ()
    if rng.random() < 0.5 and rankable(first):
        by = rng.choice(rankable(first))
    else:
        found = unique_condition(first, rng)
        if found is None:
            return
        conditions = (found,)
    yield ShortRecipe(
        shape=ShortShape.HOP,
        table=first.id,
        other=second.id,
        column=rng.choice(columns),
        by=by,
        conditions=conditions,
        largest=rng.random() < 0.7,
    )
