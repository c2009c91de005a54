"""Typed tables from raw cells: keys are found, totals and stray rows put aside."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wideseek_data.tables.table import Row, Table, typed
from wideseek_data.tables.values import is_missing, normalized, read_amount, read_date

_TOTAL = re.compile(
    r"(?:grand |sub)?totals?|.* totals?|sums?|overall|average|mean|all|(?:all )?others?"
    r"|invalid votes|turnout|合计|总计|共计|总数|小计|平均|其他|其它|全部|合計|總計|共計|總數|小計",
    re.IGNORECASE,
)
_PERHAPS_TOTAL = re.compile(
    r"(?:grand |sub)?totals?\b.*|(?:all )?others? .*|all\b.*", re.IGNORECASE
)
"""`Total votes` and `All regions`, but also names such as `Total Recall`."""
_NAME_LIKE = re.compile(r"\b(name|title|player|team|nation|country|film|album|song|city|名)", re.I)
MIN_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """Cells as they were read, and the address of the page that states them."""

    cells: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """A table before its key and types are known."""

    title: str
    names: tuple[str, ...]
    rows: tuple[RawRow, ...]
    section: str = ""
    url: str = ""
    source: str = ""
    key: str = ""
    """The key, where the source says it."""
    complete: bool = True
    """Whether these are all rows of the source."""


class NoTable(Exception):
    """What was read is no good as a table; the text says why."""


def build_table(raw: RawTable, name: str) -> Table:
    """The typed table with the id `name`. Raises `NoTable` naming the step that fails."""
    names = tuple(" ".join(column.split()) for column in raw.names)
    if len(names) < 2 or len(set(names)) != len(names) or not all(names):
        raise NoTable("columns without names of their own")
    kept = list(_real_rows(raw, names))
    key = raw.key or find_key(names, [row.cells for row in kept])
    if key not in names:
        raise NoTable("no key")
    at = names.index(key)
    totals = _totals(kept, at)
    rows = [row for row in kept if row not in totals]
    if len(rows) < MIN_ROWS:
        raise NoTable("too few rows")
    if not is_key([row.cells[at] for row in rows]):
        raise NoTable("keys that are not unique")
    return Table(
        id=name,
        title=raw.title,
        section=raw.section,
        key=key,
        columns=typed(names, [row.cells for row in rows]),
        rows=tuple(Row(cells=row.cells, url=row.url) for row in rows),
        url=raw.url,
        source=raw.source,
        totals=len(totals),
        complete=raw.complete and len(kept) == len(raw.rows),
    )


def _totals(rows: Sequence[RawRow], key: int) -> list[RawRow]:
    """Rows whose key says that they sum up others; doubtful ones only at the end of the table."""
    names = [row.cells[key].strip(" .:*") for row in rows]
    sure = [_TOTAL.fullmatch(name) is not None for name in names]
    end = len(rows)
    while end and (sure[end - 1] or _PERHAPS_TOTAL.fullmatch(names[end - 1])):
        end -= 1
    return [row for place, row in enumerate(rows) if sure[place] or place >= end]


def _real_rows(raw: RawTable, names: Sequence[str]) -> Iterator[RawRow]:
    """The rows that are neither repeated headers nor headings that span the table."""
    for row in raw.rows:
        cells = tuple(" ".join(cell.split()) for cell in row.cells)
        given = {cell for cell in cells if not is_missing(cell)}
        spans = len(cells) > 2 and len(given) == 1
        repeats = sum(cell == name for cell, name in zip(cells, names, strict=True)) >= 2
        if given and not spans and not repeats:
            yield RawRow(cells=cells, url=row.url)


def find_key(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The column that names the rows: unique, best in words, best called a name; "" if none is."""
    found: list[tuple[bool, bool, int, str]] = []
    for at, name in enumerate(names):
        cells = [row[at] for row in rows]
        if is_key(cells):
            in_words = sum(_is_words(cell) for cell in cells) > len(cells) / 2
            found.append((not in_words, _NAME_LIKE.search(name) is None, at, name))
    return min(found)[-1] if found else ""


def _is_words(cell: str) -> bool:
    return read_amount(cell) is None and read_date(cell) is None


def is_key(cells: Sequence[str]) -> bool:
    """Whether every cell has a value, and no two are alike but for case, accents and marks."""
    plain = [normalized(cell) for cell in cells]
    return not any(map(is_missing, cells)) and all(plain) and len(set(plain)) == len(plain)
