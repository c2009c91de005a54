"""Whether what an answer needs stands on pages that search reaches."""

from collections.abc import Mapping

from wideseek_core import NoContent, PageSource, SearchBackend
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing, normalized
from wideseek_data.tasks.recipes import PlannedTask
from wideseek_data.teaching.acting import parent
from wideseek_data.teaching.subtasks import stages


class Reach:
    """Looks up rows by search and reads their pages; remembers what it found."""

    def __init__(self, search: SearchBackend, pages: PageSource, results: int) -> None:
        self._search = search
        self._pages = pages
        self._results = results
        self._texts: dict[str, str] = {}
        self._found: dict[tuple[str, int], bool] = {}

    async def problem(self, plan: PlannedTask, tables: Mapping[str, Table]) -> str:
        """What can't be reached; "" if every cell that the answer depends on can."""
        for stage in stages(plan, tables):
            for row in stage.rows:
                if not await self._finds(stage.table, row):
                    return "a page that search does not find"
                text = await self._text(stage.table.rows[row].url)
                for name in (stage.table.key, *stage.columns):
                    cell = stage.table.cell(row, name)
                    if not is_missing(cell) and f" {normalized(cell)} " not in text:
                        return "a cell that its page does not state"
            if stage.lists_keys and not await self._finds_list(stage.table):
                return "a list that search does not find"
        return ""

    async def _finds(self, table: Table, row: int) -> bool:
        known = self._found.get((table.id, row))
        if known is None:
            query = f"{table.cell(row, table.key)} {table.title}"
            known = await self._shows(query, table.rows[row].url)
            known = known or await self._shows(f"{query} {table.section}", table.rows[row].url)
            self._found[table.id, row] = known
        return known

    async def _finds_list(self, table: Table) -> bool:
        """Whether the page that lists the keys is found, or a page below it, as agents find it."""
        known = self._found.get((table.id, -1))
        if known is None:
            below = any(parent(row.url) == table.url for row in table.rows)
            query = f"{table.title} {table.section}"
            known = await self._shows(query, table.url) or (
                below and await self._finds(table, 0) and bool(await self._text(table.url))
            )
            self._found[table.id, -1] = known
        return known

    async def _shows(self, query: str, url: str) -> bool:
        found = await self._search.search(query, self._results)
        return any(document.url == url for document in found)

    async def _text(self, url: str) -> str:
        if url not in self._texts:
            try:
                page = await self._pages.read(url)
                self._texts[url] = f" {normalized(f'{page.title} {page.text}')} "
            except NoContent:
                self._texts[url] = ""
        return self._texts[url]
