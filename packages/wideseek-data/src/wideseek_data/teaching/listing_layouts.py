"""Ways in which pages write a listing: sentences, lists, boxes, tables."""

import random
from collections.abc import Callable, Sequence

from wideseek_core.tables import MarkdownTable
from wideseek_data.stored_pages import StoredPage
from wideseek_data.teaching.listing import ListedRow

Values = Sequence[tuple[str, str]]

NAMED = ("sentence", "bullets", "numbered", "lines")
"""Layouts of the page that names the entries."""


def names_page(
    layout: str, title: str, section: str, key: str, names: Sequence[str], url: str
) -> StoredPage:
    """The page that names the entries of a listing."""
    opening = f"{title}, section {section}."
    match layout:
        case "sentence":
            listed = f" It lists {len(names)} entries by {key}: {'; '.join(names)}."
        case "bullets":
            listed = f"\n{key}:\n" + "\n".join(f"- {name}" for name in names)
        case "numbered":
            listed = "\n" + "\n".join(f"{at}. {name}" for at, name in enumerate(names, 1))
        case _:
            listed = f" Entries ({key}):\n" + "\n".join(names)
    return StoredPage(url=url, title=f"{title}: {section}", contents=opening + listed)


def _sentence(opening: str, name: str, values: Values) -> str:
    return " ".join([opening, *(f"{column}: {value}." for column, value in values)])


def _box(opening: str, name: str, values: Values) -> str:
    width = max((len(column) for column, _ in values), default=0)
    lines = [f"{column.ljust(width)}  {value}" for column, value in values]
    return "\n".join([name, *lines, opening])


def _bullets(opening: str, name: str, values: Values) -> str:
    return "\n".join([opening, *(f"- {column}: {value}" for column, value in values)])


def _row(opening: str, name: str, values: Values) -> str:
    labels, cells = [column for column, _ in values], [value for _, value in values]
    table = MarkdownTable(columns=tuple(labels), rows=(tuple(cells),))
    return f"{opening}\n{table.markdown()}" if values else opening


def _prose(opening: str, name: str, values: Values) -> str:
    stated = [f"The {column} of {name} is {value}." for column, value in values]
    return " ".join([opening, *stated])


TOLD: dict[str, Callable[[str, str, Values], str]] = {
    "sentence": _sentence,
    "box": _box,
    "bullets": _bullets,
    "row": _row,
    "prose": _prose,
}
"""Layouts of the page that tells the values of one entry."""


def row_page(
    layout: str,
    title: str,
    section: str,
    key: str,
    row: ListedRow,
    order: Sequence[str],
    extra: Values = (),
) -> StoredPage:
    """The page of one entry; `extra` are values that nobody asks for."""
    opening = f"{row.name} is an entry of {title}, section {section} ({key})."
    values = [(column, row.values[column]) for column in order if column in row.values]
    return StoredPage(
        url=row.url,
        title=f"{row.name} ({title})",
        contents=TOLD[layout](opening, row.name, [*values, *extra]),
    )


def table_page(
    title: str, section: str, key: str, columns: Sequence[str], rows: Sequence[ListedRow], url: str
) -> StoredPage:
    """One page that holds the whole table."""
    cells = ((row.name, *(row.values.get(column, "") for column in columns)) for row in rows)
    table = MarkdownTable(columns=(key, *columns), rows=tuple(cells)).markdown()
    return StoredPage(
        url=url, title=f"{title}: {section}", contents=f"{title}, section {section}.\n{table}"
    )


def shuffled(rng: random.Random, items: Sequence[str]) -> list[str]:
    """The items in another order, or as they are."""
    return rng.sample(items, len(items)) if rng.random() < 0.3 else list(items)
