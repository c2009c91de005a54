"""Invented tables: names, columns and values that nobody can know, stated in several layouts.

What is demonstrated on them has to be copied from what is read.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core.search import Page
from wideseek_data.atlas.lexicon import NUMBER_STYLES, STYLES, TEXT_STYLES, Lexicon
from wideseek_data.tables.build import NoTable, RawRow, RawTable, build_table
from wideseek_data.tables.table import Table
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask
from wideseek_data.teaching.table_layouts import Layout, laid_out

SIZES = (3, 4, 5, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24)
"""Of tables, in rows."""
URLS = ("https://{word}.example/wiki", "https://{word}.example", "https://www.{word}.example/pages")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWorld:
    """Tables with the pages that state them, and what is asked about them."""

    tables: dict[str, Table]
    pages: tuple[Page, ...]
    plans: tuple[PlannedTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedTables:
    """How invented worlds are drawn."""

    amounts: Amounts
    max_rows: int = 24
    missing_share: float = 0.15
    """Share of the worlds in which pages are missing, so that facts can't be found."""


def invent_tables(seed: int, settings: InventedTables) -> TableWorld:
    """The world of a seed: two tables that share some keys."""
    rng = random.Random(f"tables {seed}")
    words = Lexicon(rng)
    base = rng.choice(URLS).format(word=words.word().lower().replace("'", "") or "site")
    base = base.encode("ascii", "ignore").decode()
    layout = rng.choice(tuple(Layout))
    first = _table(rng, words, f"{seed}-1", settings.max_rows, ())
    second = _table(rng, words, f"{seed}-2", settings.max_rows, first.cells(first.key))
    placed = [laid_out(table, layout, base) for table in (first, second)]
    tables = {table.id: table for table, _ in placed}
    amounts = Amounts(
        wide_per_table=settings.amounts.wide_per_table,
        short_per_table=settings.amounts.short_per_table,
        seed=seed,
        languages=settings.amounts.languages,
    )
    pages = [page for _, some in placed for page in some]
    if rng.random() < settings.missing_share:
        pages = _without_some(pages, rng)
    plans = tuple(make_tasks(list(tables.values()), amounts, Counter()))
    return TableWorld(tables=tables, pages=tuple(pages), plans=plans)


def _without_some(pages: Sequence[Page], rng: random.Random) -> list[Page]:
    """Most pages, or only those whose place is in one half: whole tables can be missing."""
    if rng.random() < 0.5:
        return [page for page in pages if rng.random() > 0.3]
    half = len(pages) // 2
    return list(pages[:half] if rng.random() < 0.5 else pages[half:])


def _table(
    rng: random.Random, words: Lexicon, name: str, max_rows: int, known: Sequence[str]
) -> Table:
    """A table; some of its keys are among the known ones."""
    while True:
        try:
            return build_table(_raw(rng, words, max_rows, known), name)
        except NoTable:
            continue


def _raw(rng: random.Random, words: Lexicon, max_rows: int, known: Sequence[str]) -> RawTable:
    noun, _ = words.noun()
    count = rng.choice([size for size in SIZES if size <= max_rows] or [max_rows])
    style = rng.randrange(STYLES)
    shared = rng.sample(list(known), min(len(known), count, rng.choice((0, 0, 3, 4, 6))))
    keys = [*shared, *(words.thing(style) for _ in range(count - len(shared)))]
    rng.shuffle(keys)
    columns = [_cells(rng, words, count) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5)))]
    title = " ".join(words.title() for _ in range(rng.choice((1, 2, 2, 3))))
    return RawTable(
        title=f"{title} {words.word()}" if rng.random() < 0.6 else title,
        section=words.facet() if rng.random() < 0.6 else "",
        names=(noun[0].upper() + noun[1:], *(words.column() for _ in columns)),
        rows=tuple(
            RawRow(cells=(key, *(cells[at] for cells in columns))) for at, key in enumerate(keys)
        ),
        source="invented",
        key=noun[0].upper() + noun[1:],
    )


def _cells(rng: random.Random, words: Lexicon, count: int) -> list[str]:
    """The cells of one column: numbers, text, or a few values that rows share."""
    way = rng.random()
    if way < 0.3:
        pool = [words.value(rng.choice(("word", "words", "titles", "lower"))) for _ in range(3)]
        return [rng.choice(pool) for _ in range(count)]
    style = rng.choice(NUMBER_STYLES if way < 0.65 else TEXT_STYLES)
    style = "words" if style == "derived" else style
    cells = [words.value(style) for _ in range(count)]
    if rng.random() < 0.15:
        cells[rng.randrange(count)] = "-"
    return cells
