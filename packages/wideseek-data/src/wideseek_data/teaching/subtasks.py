"""What a lead hands out for a planned task: lists of keys, and facts of some rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wideseek_data.tables.table import Table
from wideseek_data.tables.values import normalized
from wideseek_data.tasks.apply import found_row
from wideseek_data.tasks.make import needed_rows
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe, ShortShape, WideRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyList:
    """A subtask: the keys of a table."""

    table: Table

    @property
    def prompt(self) -> str:
        """How the lead words it."""
        return f"List every {self.table.key} in {_place(self.table)}"

    @property
    def queries(self) -> tuple[str, ...]:
        """What to search for, one after another until the page is found."""
        place = f"{self.table.title} {self.table.section}".strip()
        return place, f"{place} list of entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A subtask: cells of some rows."""

    table: Table
    rows: tuple[int, ...]
    columns: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """How the lead words it."""
        keys = "; ".join(self.key(row) for row in self.rows)
        return f"{', '.join(self.columns)} in {_place(self.table)} of: {keys}"

    def key(self, row: int) -> str:
        """The key of a row."""
        return self.table.cell(row, self.table.key)

    def query(self, row: int, attempt: int) -> str:
        """What to search for to find a row; the second attempt says more."""
        first = f"{self.key(row)} {self.table.title}"
        return f"{first} {self.table.section}".strip() if attempt else first


def _place(table: Table) -> str:
    return f'"{table.title}" ({table.section})' if table.section else f'"{table.title}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is needed of one table, before what comes next can be asked for."""

    table: Table
    rows: tuple[int, ...]
    columns: tuple[str, ...]
    """Beside the key."""
    lists_keys: bool
    """Whether the keys have to be found first: the question does not name them."""

    @property
    def is_one_page(self) -> bool:
        """Whether one page tells the whole table."""
        return {self.table.rows[row].url for row in self.rows} <= {self.table.url}


def stages(plan: PlannedTask, tables: Mapping[str, Table]) -> list[Stage]:
    """What has to be read, table by table."""
    recipe = plan.recipe
    table = tables[recipe.table]
    rows = needed_rows(recipe, table)
    found = [
        Stage(
            table=table,
            rows=tuple(rows),
            columns=_columns(recipe, table),
            lists_keys=len(rows) > 2 or not (isinstance(recipe, ShortRecipe) and recipe.keys),
        )
    ]
    if recipe.other:
        found.append(_second(recipe, table, tables[recipe.other]))
    return found


def _second(recipe: WideRecipe | ShortRecipe, first: Table, other: Table) -> Stage:
    keys = {normalized(key) for key in first.cells(first.key)}
    if isinstance(recipe, ShortRecipe):
        keys = {normalized(first.cell(found_row(recipe, first), first.key))}
        columns: tuple[str, ...] = (recipe.column,)
    else:
        columns = recipe.other_columns
    rows = [row for row, key in enumerate(other.cells(other.key)) if normalized(key) in keys]
    return Stage(
        table=other,
        rows=tuple(rows),
        columns=columns,
        lists_keys=isinstance(recipe, WideRecipe),
    )


def _columns(recipe: WideRecipe | ShortRecipe, table: Table) -> tuple[str, ...]:
    """The columns of the first table that the answer depends on, without the key."""
    names = [item.column for item in recipe.conditions]
    if isinstance(recipe, WideRecipe):
        names += recipe.columns
        names += [recipe.top.column] if recipe.top else []
        names += [recipe.grouping.of] if recipe.grouping else []
    else:
        names += [recipe.by]
        names += [recipe.column] if recipe.shape is not ShortShape.HOP else []
    return tuple(name for name in table.names if name in names and name != table.key)


def batches(rows: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Rows in groups of at most `size`."""
    return [tuple(rows[start : start + size]) for start in range(0, len(rows), size)]
