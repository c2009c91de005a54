"""Tables as training tasks are made of: typed columns, keys, and the pages that state the rows."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from pydantic import model_validator

from wideseek_core import Record
from wideseek_data.tables.values import is_missing, normalized, sort_value, type_of


class ColumnType(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    NUMBER = "number"
    """Comparable by size; all cells have the same unit or none."""
    MONEY = "money"
    """Comparable by size; all cells have the same currency."""
    DATE = "date"
    """Comparable by time: days, months or years."""


class Column(Record):
    """A column of a table."""

    name: str
    type: ColumnType = ColumnType.TEXT
    unit: str = ""
    """Unit or currency that all cells share; empty without one."""

    @property
    def is_ordered(self) -> bool:
        """Whether the cells can be compared by size or time."""
        return self.type is not ColumnType.TEXT


class Row(Record):
    """A row and the page that states it."""

    cells: tuple[str, ...]
    url: str = ""
    """Address of the page; empty if no page does."""


class Table(Record):
    """A table with a key, and where it stands.

    Example: `Table(id="t1", title="Moons of Neptune", key="Moon", columns=(Column(name="Moon"),),
    rows=(Row(cells=("Triton",)),))`
    """

    id: str
    title: str
    """What the table is about: the title of the page or file that it is from."""
    section: str = ""
    """Heading of the part of the page; empty if the title says it all."""
    key: str
    """The column whose cells name the rows, no two alike."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    url: str = ""
    """Address of the page that lists the keys; empty if there is none."""
    source: str = ""
    """Name of the source that it was read from."""
    totals: int = 0
    """Rows of totals that the source has beside these."""
    complete: bool = True
    """Whether these are all rows of the source, apart from totals."""

    @model_validator(mode="after")
    def _is_rectangular(self) -> "Table":
        if self.key not in self.names:
            raise ValueError(f"the key {self.key!r} is no column")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two columns have the same name")
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError("rows are not as wide as the header")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def entity(self) -> str:
        """What decides the split of everything that is made of the table."""
        return normalized(self.title)

    def column(self, name: str) -> Column:
        """The column of that name."""
        return self.columns[self.names.index(name)]

    def cell(self, row: int, name: str) -> str:
        """The text of a cell."""
        return self.rows[row].cells[self.names.index(name)]

    def cells(self, name: str) -> list[str]:
        """All cells of a column."""
        at = self.names.index(name)
        return [row.cells[at] for row in self.rows]

    def size(self, row: int, name: str) -> float | None:
        """A cell of an ordered column as a number to compare; None if nothing is given."""
        return sort_value(self.cell(row, name), self.column(name).type)

    def row_of(self, key: str) -> int | None:
        """The row with that key."""
        keys = self.cells(self.key)
        return keys.index(key) if key in keys else None

    def is_full(self, name: str) -> bool:
        """Whether every row has a value in that column."""
        return not any(map(is_missing, self.cells(name)))

    def urls(self) -> Iterator[str]:
        """The addresses of all pages that state something of the table."""
        yield from dict.fromkeys(filter(None, (self.url, *(row.url for row in self.rows))))


def typed(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Column, ...]:
    """Columns with their types and units read off the cells."""
    columns: list[Column] = []
    for at, name in enumerate(names):
        kind, unit = type_of(name, [row[at] for row in rows])
        columns.append(Column(name=name, type=ColumnType(kind), unit=unit))
    return tuple(columns)
