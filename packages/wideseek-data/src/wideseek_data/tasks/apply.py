"""Right answers of recipes, computed from the tables alone."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing, normalized, read_amount
from wideseek_data.tasks.recipes import Measure, ShortRecipe, ShortShape, Top, WideRecipe

Tables = Mapping[str, Table]
GAP = "-"
"""What stands in an answer's cell where the table gives nothing."""


class NoAnswer(Exception):
    """A recipe has no single right answer on these tables; the text says why."""


def matching(recipe: WideRecipe | ShortRecipe, table: Table) -> list[int]:
    """The rows that fulfil all conditions, in the table's order."""
    return [
        row
        for row in range(len(table.rows))
        if all(condition.holds(table, row) for condition in recipe.conditions)
    ]


def top_rows(table: Table, rows: Sequence[int], top: Top) -> list[int]:
    """The first rows by size. Raises `NoAnswer` where a tie or a gap leaves it open which."""
    sizes = {row: table.size(row, top.column) for row in rows}
    known = {row: size for row, size in sizes.items() if size is not None}
    if len(known) < len(rows) or len(rows) < top.count:
        raise NoAnswer("gaps in the ranked column")
    ranked = sorted(known, key=lambda row: -known[row] if top.largest else known[row])
    if len(ranked) > top.count and known[ranked[top.count - 1]] == known[ranked[top.count]]:
        raise NoAnswer("tie at the last rank")
    return ranked[: top.count]


def wide_rows(recipe: WideRecipe, tables: Tables) -> list[tuple[str, ...]]:
    """The cells of the right table. Raises `NoAnswer`."""
    table = tables[recipe.table]
    rows = matching(recipe, table)
    if recipe.grouping is not None:
        return _groups(recipe, table, rows)
    if recipe.top is not None:
        rows = top_rows(table, rows, recipe.top)
    if not recipe.other:
        return [tuple(_shown(table.cell(row, name)) for name in recipe.columns) for row in rows]
    other = tables[recipe.other]
    places = {normalized(key): row for row, key in enumerate(other.cells(other.key))}
    joined: list[tuple[str, ...]] = []
    for row in rows:
        there = places.get(normalized(table.cell(row, table.key)))
        if there is not None:
            cells = [table.cell(row, name) for name in recipe.columns]
            cells += [other.cell(there, name) for name in recipe.other_columns]
            joined.append(tuple(map(_shown, cells)))
    return joined


def _groups(recipe: WideRecipe, table: Table, rows: Sequence[int]) -> list[tuple[str, ...]]:
    grouping = recipe.grouping
    assert grouping is not None
    members: dict[str, list[int]] = {}
    for row in rows:
        cell = table.cell(row, grouping.column)
        if not is_missing(cell):
            members.setdefault(cell, []).append(row)
    found: list[tuple[str, ...]] = []
    for name, inside in members.items():
        cells = [table.cell(row, grouping.of) for row in inside] if grouping.of else []
        match grouping.measure:
            case Measure.COUNT:
                value = str(len(inside))
            case Measure.SUM:
                value = total(cells)
            case Measure.MAX:
                value = table.cell(_largest(table, inside, grouping.of), grouping.of)
        found.append((name, value))
    return found


def _largest(table: Table, rows: Sequence[int], column: str) -> int:
    """The row with the largest value. Raises `NoAnswer` if no row has one."""
    sizes = {row: size for row in rows if (size := table.size(row, column)) is not None}
    if not sizes:
        raise NoAnswer("no value")
    return max(sizes, key=lambda row: sizes[row])


def total(cells: Sequence[str]) -> str:
    """The sum of cells, without separators. Raises `NoAnswer` for cells without a number."""
    amounts = [read_amount(cell) for cell in cells]
    if not amounts or any(amount is None for amount in amounts):
        raise NoAnswer("cells that are no numbers")
    whole = sum((Decimal(str(amount.size)) for amount in amounts if amount), Decimal(0))
    return written(whole)


def written(number: Decimal) -> str:
    """A number without separators, exponent or empty decimals."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short_answer(recipe: ShortRecipe, tables: Tables) -> str:
    """The right answer. Raises `NoAnswer` where there is none, or more than one."""
    table = tables[recipe.table]
    rows = matching(recipe, table)
    match recipe.shape:
        case ShortShape.COUNT:
            return str(len(rows))
        case ShortShape.SUM:
            return total([table.cell(row, recipe.column) for row in rows])
        case ShortShape.DIFFERENCE:
            first, second = (_named(table, key) for key in recipe.keys)
            return _difference(table.cell(first, recipe.column), table.cell(second, recipe.column))
        case ShortShape.HOP:
            other = tables[recipe.other]
            there = _named(other, table.cell(_one_row(recipe, table, rows), table.key))
            return _value(other, there, recipe.column)
        case _:
            return _value(table, _one_row(recipe, table, rows), recipe.column)


def found_row(recipe: ShortRecipe, table: Table) -> int:
    """The row of the first table that the question leads to. Raises `NoAnswer`."""
    return _one_row(recipe, table, matching(recipe, table))


def _one_row(recipe: ShortRecipe, table: Table, rows: Sequence[int]) -> int:
    if recipe.by:
        among = [_named(table, key) for key in recipe.keys] or list(rows)
        return top_rows(table, among, Top(column=recipe.by, count=1, largest=recipe.largest))[0]
    if recipe.keys:
        return _named(table, recipe.keys[0])
    if len(rows) != 1:
        raise NoAnswer("not exactly one row")
    return rows[0]


def _named(table: Table, key: str) -> int:
    wanted = normalized(key)
    for row, found in enumerate(table.cells(table.key)):
        if normalized(found) == wanted:
            return row
    raise NoAnswer("no such key")


def _value(table: Table, row: int, column: str) -> str:
    cell = table.cell(row, column)
    if is_missing(cell):
        raise NoAnswer("no value")
    return cell


def _difference(first: str, second: str) -> str:
    one, two = read_amount(first), read_amount(second)
    if one is None or two is None or one.size == two.size:
        raise NoAnswer("no difference")
    return written(abs(Decimal(str(one.size)) - Decimal(str(two.size))))


def _shown(cell: str) -> str:
    return GAP if is_missing(cell) else cell
