"""Recipes: what a question asks of tables, in a form that code applies.

A recipe says everything that the right answer depends on; the words of the question come from
`wideseek_data.phrases` or from a language model, the gold always from here.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from wideseek_core import Record, Task
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing, normalized, sort_value


class Comparison(StrEnum):
    """How a cell has to relate to a condition's value."""

    EQUAL = "equal"
    ABOVE = "above"
    BELOW = "below"
    BETWEEN = "between"
    """From `value` to `upper`, both included."""


class Condition(Record):
    """What a row has to fulfil."""

    column: str
    comparison: Comparison
    value: str
    upper: str = ""

    def holds(self, table: Table, row: int) -> bool:
        """Whether a row of the table fulfils it; a row without a value does not."""
        cell = table.cell(row, self.column)
        if self.comparison is Comparison.EQUAL:
            return normalized(cell) == normalized(self.value) and not is_missing(cell)
        size = table.size(row, self.column)
        kind = table.column(self.column).type
        bound, upper = sort_value(self.value, kind), sort_value(self.upper, kind)
        if size is None or bound is None:
            return False
        match self.comparison:
            case Comparison.ABOVE:
                return size > bound
            case Comparison.BELOW:
                return size < bound
            case _:
                return bound <= size and (upper is None or size <= upper)


class Top(Record):
    """The rows with the largest or smallest values of a column."""

    column: str
    count: int = Field(ge=1)
    largest: bool = True


class Measure(StrEnum):
    """What is computed for each group of rows."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"


class Grouping(Record):
    """One row of the answer for each value of a column."""

    column: str
    measure: Measure
    of: str = ""
    """The column that is summed, or whose largest value is taken."""
    label: str
    """Name of the computed column."""


class WideShape(StrEnum):
    """What picks the rows of a wide task."""

    ALL = "all"
    EQUAL = "equal"
    RANGE = "range"
    BOTH = "both"
    """Two conditions."""
    TOP = "top"
    GROUPS = "groups"
    JOIN = "join"


class WideRecipe(Record):
    """A table that is asked for."""

    kind: Literal["wide"] = "wide"
    shape: WideShape
    table: str
    other: str = ""
    """Id of the table that is joined by equal keys; empty without one."""
    columns: tuple[str, ...]
    """Columns of `table` that are asked for, the key first (of groups: the grouping column)."""
    other_columns: tuple[str, ...] = ()
    """Columns of `other`."""
    labels: tuple[str, ...]
    """Names of all columns of the answer."""
    conditions: tuple[Condition, ...] = ()
    top: Top | None = None
    grouping: Grouping | None = None


class ShortShape(StrEnum):
    """What a short question asks."""

    LOOKUP = "lookup"
    REVERSE = "reverse"
    """Which row has this value."""
    COUNT = "count"
    EXTREME = "extreme"
    """Which row has the largest or smallest value."""
    OF_EXTREME = "of_extreme"
    """A column of the row with the largest or smallest value."""
    DIFFERENCE = "difference"
    COMPARE = "compare"
    """Which of two rows has more."""
    SUM = "sum"
    OF_MATCH = "of_match"
    """A column of the one row that fulfils a condition."""
    HOP = "hop"
    """A column of another table for a row that is found in the first."""


class ShortRecipe(Record):
    """A single value that is asked for."""

    kind: Literal["short"] = "short"
    shape: ShortShape
    table: str
    other: str = ""
    column: str
    """The column that the answer comes from."""
    by: str = ""
    """The column that rows are compared by."""
    keys: tuple[str, ...] = ()
    """Keys that the question names."""
    conditions: tuple[Condition, ...] = ()
    largest: bool = True


Recipe = Annotated[WideRecipe | ShortRecipe, Field(discriminator="kind")]


class PlannedTask(Record):
    """A task with the recipe that it was made of."""

    task: Task
    recipe: Recipe
    entities: tuple[str, ...]
    """What decides its split: the entities of its tables."""
    pages: tuple[str, ...] = ()
    """Addresses of the pages that state what the answer needs."""
