"""Pages that state a table: for tables that come without pages, and for invented ones.

A layout decides how the list of keys and the rows are stated; real sites differ in just that.
"""

import random
from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import quote

from wideseek_core.search import Page
from wideseek_core.tables import MarkdownTable
from wideseek_data.phrases.nouns import lower, row_nouns
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing
from wideseek_data.teaching.names_layouts import NAMED, Entry, Named
from wideseek_data.teaching.values_layouts import STATED


class Layout(StrEnum):
    """How a table is stated."""

    ENTRIES = "entries"
    """A page that lists the keys, and for each row a page of labelled values."""
    PROSE = "prose"
    """The same with a sentence for each value."""
    FACTS = "facts"
    """The same with a line for each value."""
    TABLE = "table"
    """One page with the whole table."""


def laid_out(table: Table, layout: Layout, base_url: str) -> tuple[Table, list[Page]]:
    """The table with the addresses of its pages, and the pages."""
    fragment = f"#{_path(table.section)}" if table.section else ""
    url = f"{base_url}/{_path(table.title)}{fragment}"
    if layout is Layout.TABLE:
        rows = [row.model_copy(update={"url": url}) for row in table.rows]
    else:
        rows = [
            row.model_copy(
                update={"url": f"{base_url}/{_path(table.title)}/{_path(key)}{fragment}"}
            )
            for row, key in zip(table.rows, table.cells(table.key), strict=True)
        ]
    placed = table.model_copy(update={"url": url, "rows": tuple(rows)})
    return placed, list(_pages(placed, layout))


def _path(text: str) -> str:
    return quote(text.replace(" ", "_"), safe="_,()-.'")


def _pages(table: Table, layout: Layout) -> Iterator[Page]:
    keys = table.cells(table.key)
    place = f"{table.title}, section {table.section}" if table.section else table.title
    title = f"{table.title}: {table.section}" if table.section else table.title
    if layout is Layout.TABLE:
        whole = MarkdownTable(columns=table.names, rows=tuple(row.cells for row in table.rows))
        yield Page(url=table.url, title=title, text=f"{place}.\n\n{whole.markdown()}")
        return
    _, nouns = row_nouns(table)
    entries = [
        Entry(name=key, url=row.url, remark="") for key, row in zip(keys, table.rows, strict=True)
    ]
    if layout is Layout.ENTRIES:
        text = NAMED["sentence"](Named(opening=f"{place}.", key=table.key, entries=entries))
    elif layout is Layout.PROSE:
        text = f"{place}. There are {len(keys)} {nouns}: {', '.join(keys)}."
    else:
        text = NAMED["dashes"](Named(opening=place, key=table.key, entries=entries))
    yield Page(url=table.url, title=title, text=text)
    for row, key in enumerate(keys):
        stated = _stated(table, row, layout)
        yield Page(url=table.rows[row].url, title=f"{key} ({table.title})", text=stated)


def _stated(table: Table, row: int, layout: Layout) -> str:
    """What the page of a row says."""
    noun, _ = row_nouns(table)
    key = table.cell(row, table.key)
    cells = {
        name: table.cell(row, name)
        for name in table.names
        if name != table.key and not is_missing(table.cell(row, name))
    }
    place = f"{table.title}, section {table.section}" if table.section else table.title
    if layout is Layout.ENTRIES:
        opening = f"{key} is an entry of {place} ({table.key})."
        return STATED["sentence"](opening, key, list(cells.items()))
    article = "an" if noun[0] in "aeiou" else "a"
    lead = f"{key} is {article} {noun} of {place}."
    if layout is Layout.PROSE:
        rng = random.Random(table.title)
        form = rng.choice(("Its {name} is {cell}.", "The {name} of {key} is {cell}."))
        stated = [form.format(name=lower(name), cell=cell, key=key) for name, cell in cells.items()]
        return " ".join((lead, *stated))
    return STATED["lines"](lead, key, list(cells.items()))
