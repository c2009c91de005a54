"""Real tables of Wikipedia with one page per row: a folder of pages, tasks and splits.

The leak rule: training sees the tables whose split is `train` and no others. Whoever makes tasks
or demonstrations to learn from reads them here, with `split="train"`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from wideseek_core import CorruptFile, DataError
from wideseek_core.files import read_objects, read_records
from wideseek_core.tables import parse_table
from wideseek_data.stored_pages import StoredPage
from wideseek_data.teaching.listing import MISSING, ListedRow, Listing

PAGES, TASKS, SPLITS = "pages.jsonl", "wide_dev.jsonl", "splits.jsonl"

Split = Literal["train", "evaluation"]

_NAMED = re.compile(r'List every entry of "(?P<title>.*?)", section "(?P<section>.*?)"\. For each ')


def read_wikitables(folder: Path, split: Split) -> list[Listing]:
    """The listings of one split. Raises `DataError` naming the file that is at fault."""
    pages = read_pages(folder)
    tasks = {str(task.get("instance_id")): task for _, task in read_objects(folder / TASKS)}
    listings: list[Listing] = []
    for number, values in read_objects(folder / SPLITS):
        try:
            if values["split"] == split:
                urls: list[str] = values["pages"]
                chosen = [pages[url] for url in urls]
                listings.append(_listing(tasks[values["wide"]], chosen))
        except KeyError as error:
            raise CorruptFile(f"{folder / SPLITS}:{number}: {error} is not known") from None
    if not listings:
        raise DataError(f"{folder}: no table is in the split {split!r}")
    return listings


def read_pages(folder: Path) -> dict[str, StoredPage]:
    """All pages by address. Raises `DataError`."""
    return {page.url: page for page in read_records(folder / PAGES, StoredPage)}


def _listing(task: Mapping[str, Any], pages: Sequence[StoredPage]) -> Listing:
    table = parse_table(task["answer"])
    named = _NAMED.match(task["question"])
    if named is None or table is None or not pages:
        raise CorruptFile(f"task {task['instance_id']}: not of a listing")
    header = table.columns
    of_name = {page.title: page for page in pages[1:]}
    rows = [_row(header, cells, of_name, named["title"]) for cells in table.rows]
    return Listing(
        id=task["instance_id"],
        title=named["title"],
        section=named["section"],
        key=header[0],
        columns=tuple(header[1:]),
        rows=tuple(rows),
        url=pages[0].url,
        pages=tuple(pages),
        source="wikitables",
        question=task["question"],
    )


def _row(
    header: Sequence[str], cells: Sequence[str], pages: Mapping[str, StoredPage], title: str
) -> ListedRow:
    name = cells[0]
    values = dict(zip(header[1:], cells[1:], strict=True))
    page = pages.get(f"{name} ({title})")
    return ListedRow(
        name=name,
        url="" if page is None else page.url,
        values={column: value for column, value in values.items() if value != MISSING},
    )


def read_listings(path: Path) -> Iterator[Listing]:
    """The listings of a file that `wideseek wikitables` wrote. Raises `DataError`."""
    yield from read_records(path, Listing)
