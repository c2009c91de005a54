"""A scripted agent that answers the question of a listing by honest search and reading.

It plays lead, subagent and single agent through the real loop and tools, and states nothing that
the conversation does not show: what no page gives is `unknown` for a subagent and `-` in the table.
"""

from collections.abc import Sequence

from wideseek_core import Message, ToolSpec
from wideseek_data.teaching.acting import (
    UNKNOWN,
    Seen,
    access,
    can_delegate,
    delegate,
    parent,
    search,
    takes_many,
)
from wideseek_data.teaching.listing import MISSING, ListedRow, Listing

LOOK_UP = "Look up "
MAX_RESULTS = 9
"""Results of a search for the page of names, which ranks behind pages of single entries."""


class ListingTeacher:
    """Writes the turns of all agents that answer one listing. `respond` fits a scripted policy."""

    def __init__(self, listing: Listing, *, max_subagents: int = 10) -> None:
        self._listing = listing
        self._max_subagents = max_subagents
        section = f', section "{listing.section}"' if listing.section else ""
        self._find = f'List the entries of "{listing.title}"{section}'

    def respond(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        """The next assistant turn of whichever agent speaks."""
        asked = next(item.content for item in messages if item.role == "user")
        seen = Seen.of(messages)
        if can_delegate(tools):
            return self._lead(seen)
        many = takes_many(tools)
        if self._find in asked:
            return self._names_turn(seen, many) or "; ".join(self._named(seen)) or UNKNOWN
        for row in self._listing.rows:
            if any(line.endswith(LOOK_UP + row.name) for line in asked.splitlines()):
                return self._row_turn(row, seen, many) or self._facts(row, seen)
        return self._single(seen)

    def _lead(self, seen: Seen) -> str:
        if not seen.turns:
            return delegate([self._find])
        named = self._named(seen)
        if not named:
            return self._nothing()
        done = (seen.turns - 1) * self._max_subagents
        if done < len(named):
            batch = named[done : done + self._max_subagents]
            return delegate([LOOK_UP + name for name in batch])
        return self._table(seen, reported=True)

    def _single(self, seen: Seen) -> str:
        if turn := self._names_turn(seen, many=False):
            return turn
        if not self._named(seen):
            return self._nothing()
        for row in self._listing.rows:
            if row.name in seen.shown and (turn := self._row_turn(row, seen, many=False)):
                return turn
        return self._table(seen, reported=False)

    def _names_turn(self, seen: Seen, many: bool) -> str:
        """The next call that brings the page of names; nothing if it is there or can't be had."""
        listing = self._listing
        if seen.has_opened(listing.url):
            return ""
        if seen.lists(listing.url) or self._is_above_a_result(seen):
            return access([listing.url], many=many)
        place = f"{listing.title} {listing.section}".strip()
        for query in (f"{place} lists", f"{listing.section or listing.title} lists"):
            if not seen.searched(query):
                return search([query], many=many, count=MAX_RESULTS)
        return ""

    def _is_above_a_result(self, seen: Seen) -> bool:
        """Whether the address is one step above that of an entry that results show."""
        url = self._listing.url
        return any(parent(row.url) == url and seen.lists(row.url) for row in self._listing.rows)

    def _row_turn(self, row: ListedRow, seen: Seen, many: bool) -> str:
        """The next call that brings a value that is missing; nothing if none can be had."""
        listing = self._listing
        wanted = [column for column in listing.columns if column in row.values]
        is_there = seen.lists(row.url)
        if is_there and wanted and all(self._is_told(row, one, seen) for one in wanted):
            return ""
        if is_there and not seen.has_opened(row.url):
            return access([row.url], many=many)
        if is_there:
            return ""
        first, last = f"{row.name} {listing.title}", f"{row.name} {listing.section}".strip()
        for query in (first, last):
            if not seen.searched(query):
                # An agent that reads everything itself first asks for no more than it needs, so
                # that its window has room for many entries.
                short = {} if many or query == last else {"count": 1}
                return search([query], many=many, **short)
        return ""

    def _is_told(self, row: ListedRow, column: str, seen: Seen) -> bool:
        """Whether a value that the page gives has been seen."""
        value = row.values.get(column)
        return value is not None and seen.lists(row.url) and value in seen.shown

    def _named(self, seen: Seen) -> list[str]:
        return [row.name for row in self._listing.rows if row.name in seen.shown]

    def _facts(self, row: ListedRow, seen: Seen) -> str:
        cells = [
            f"{column}: {row.values[column] if self._is_told(row, column, seen) else UNKNOWN}"
            for column in self._listing.columns
        ]
        return "; ".join(cells)

    def _table(self, seen: Seen, *, reported: bool) -> str:
        """The table; a lead has seen the reports of subagents, not the pages."""
        listing = self._listing
        lines: list[list[str]] = []
        for row in listing.rows:
            if row.name not in seen.shown:
                continue
            cells = [row.name]
            for column in listing.columns:
                value = row.values.get(column, MISSING)
                stated = f"{column}: {value}" in seen.shown if reported else value in seen.shown
                cells.append(value if stated else MISSING)
            lines.append(cells)
        return f"```markdown\n{listing.markdown(lines)}\n```"

    def _nothing(self) -> str:
        """The answer where no page names an entry: a table without rows."""
        return f"```markdown\n{self._listing.markdown([])}\n```"
