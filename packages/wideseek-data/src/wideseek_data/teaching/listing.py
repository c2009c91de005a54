"""A listing, its task and its pages."""

import random
from collections.abc import Sequence
from functools import cached_property

from wideseek_core import Record, TableGold, Task
from wideseek_core.tables import MarkdownTable
from wideseek_data.stored_pages import StoredPage

QUESTION = (
    'List every entry of "{title}", section "{section}". For each entry give these columns: '
    "{columns}. Output one Markdown table with exactly these column names in this order, one row "
    "per {key}, and '-' where nothing is given. Wrap it as ```markdown ... ```."
)
UNSECTIONED = QUESTION.replace(', section "{section}"', "")
"""The question for a listing that is all of its title."""
MISSING = "-"
"""The cell of a value that no page gives."""


class ListedRow(Record):
    """An entry of a listing."""

    name: str
    url: str
    """Address of the page that tells the values."""
    values: dict[str, str]
    """By column; a column that no page gives is left out."""


class Listing(Record):
    """A table whose entries are named on one page, `url`, and described on those of the rows.

    Example: `Listing(id="a", title="Lake Nom", section="Islands", key="Island",
    columns=("Area",), rows=(), url="https://wiki.example/wiki/Lake_Nom#Islands", pages=())`
    """

    id: str
    title: str
    section: str
    """Empty for a listing that is all of its title."""
    key: str
    """Label of the column of names."""
    columns: tuple[str, ...]
    """Labels of the other columns."""
    rows: tuple[ListedRow, ...]
    url: str
    pages: tuple[StoredPage, ...]
    """The page that names the entries, then those that tell their values."""
    source: str = "listings"
    question: str = ""
    """Empty for the usual phrasing."""
    names_layout: str = ""
    """How the page of names is written, if it was written here."""
    values_layout: str = ""
    """How the pages of the rows are written."""

    @cached_property
    def task(self) -> Task:
        """The question for the whole table."""
        labels = (self.key, *self.columns)
        phrasing = self.question or (QUESTION if self.section else UNSECTIONED).format(
            title=self.title, section=self.section, key=self.key, columns=", ".join(labels)
        )
        return Task(
            id=self.id,
            question=phrasing,
            gold=TableGold(
                text=self.markdown([self.cells(row) for row in self.rows]),
                key_columns=(self.key,),
                required_columns=labels,
            ),
            source=self.source,
            rows=len(self.rows),
        )

    def cells(self, row: ListedRow) -> list[str]:
        """The cells of a row in the order of the columns."""
        return [row.name, *(row.values.get(column, MISSING) for column in self.columns)]

    def markdown(self, rows: Sequence[Sequence[str]]) -> str:
        """A table of the listing's columns, the key first."""
        columns = (self.key, *self.columns)
        return MarkdownTable(columns=columns, rows=tuple(map(tuple, rows))).markdown()


def narrower(listing: Listing, count: int) -> list[Listing]:
    """Other questions about a listing: each for some of its columns, in another order.

    At least half of the columns are asked for, and no question is asked twice or equals that of
    the whole listing, so that listings of few columns make fewer than `count`.
    """
    rng = random.Random(f"narrower {listing.id}")
    found: dict[tuple[str, ...], Listing] = {}
    least = -(-len(listing.columns) // 2)
    for _ in range(4 * count):
        size = rng.randint(least, len(listing.columns))
        columns = tuple(rng.sample(listing.columns, size))
        if len(found) < count and columns not in found and columns != listing.columns:
            values = {name: getattr(listing, name) for name in Listing.model_fields}
            values |= {"id": f"{listing.id}-{len(found) + 1}", "columns": columns, "question": ""}
            found[columns] = Listing(**values)
    return list(found.values())
