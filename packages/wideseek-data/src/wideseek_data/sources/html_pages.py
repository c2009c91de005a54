"""HTML as Markdown text with its headings and tables; cells that span rows or columns repeat."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from wideseek_core.tables import MarkdownTable

_SKIPPED = frozenset(("script", "style", "noscript", "template", "s", "strike", "del"))
_VOID = frozenset(("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"))
_BLOCKS = frozenset(("p", "div", "li", "ul", "ol", "br", "section", "article", "dd", "dt"))
_GROUPS = frozenset(("thead", "tbody", "tfoot"))
_CELLS = ("td", "th")
_IMPLIED = frozenset((*_CELLS, "tr", *_GROUPS))
"""Tags that end an open cell or row where its end tag is left out."""
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_POWER = re.compile(r"[+\-−]?\d+")
"""Raised text that is no footnote."""
_RAISED = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
MAX_COLUMNS = 1000
"""Columns that one cell may span, as in HTML."""
MAX_CELLS = 100_000
"""A table with more is not read: spans can claim any number."""


@dataclass(slots=True)
class _Cell:
    text: list[str] = field(default_factory=list[str])
    columns: int = 1
    rows: int = 1
    """0 for all that follow in its group of rows."""
    is_header: bool = False


@dataclass(slots=True)
class _Table:
    rows: list[list[_Cell]] = field(default_factory=list[list[_Cell]])
    groups: list[int] = field(default_factory=list[int])
    """For each row, the number of its group: a cell spans no rows of another."""
    group: int = 0
    in_head: bool = False

    def add_row(self) -> None:
        """Begins a row."""
        self.rows.append([])
        self.groups.append(self.group)

    def grid(self) -> list[list[str]]:
        """The cells as a rectangle of texts."""
        filled: dict[tuple[int, int], str] = {}
        for at, row in enumerate(self.rows):
            column = 0
            for cell in row:
                while (at, column) in filled:
                    column += 1
                text = " ".join("".join(cell.text).split())
                height = self._height(at, cell)
                if len(filled) + height * cell.columns > MAX_CELLS:
                    return []
                for down in range(height):
                    for right in range(cell.columns):
                        filled.setdefault((at + down, column + right), text)
                column += cell.columns
        width = max((column for (_, column), text in filled.items() if text), default=-1) + 1
        return [
            [filled.get((at, column), "") for column in range(width)]
            for at in range(len(self.rows))
        ]

    def _height(self, at: int, cell: _Cell) -> int:
        rest = sum(group == self.groups[at] for group in self.groups[at:])
        return min(cell.rows, rest) if cell.rows else rest


class _Reader(HTMLParser):
    """Writes Markdown while it reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.written: list[str] = []
        self.title = ""
        self._skipping = 0
        self._hidden: list[str] = []
        """Open tags from the first that is hidden on."""
        self._raised: list[str] | None = None
        self._in_title = False
        self._tables: list[_Table] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._in_title = tag == "title"
        if tag in _IMPLIED or tag in _BLOCKS:
            self._raised = None  # left open
        if tag in _IMPLIED:
            self._show_again(tag)
        if tag not in _VOID and (self._hidden or _HIDDEN.search(attributes.get("style") or "")):
            self._hidden.append(tag)
        elif tag in _SKIPPED:
            self._skipping += 1
        elif tag == "sup":
            self._raised = []
        elif tag == "table":
            self._tables.append(_Table())
        elif self._tables and (tag in _GROUPS or tag in ("tr", "td", "th")):
            self._in_table(tag, attributes)
        elif tag in _HEADINGS and not self._tables:
            self.written.append(f"\n\n{'#' * _HEADINGS[tag]} ")
        elif tag in _BLOCKS:
            self._add("\n" if not self._tables else " ")

    def _show_again(self, tag: str) -> None:
        """Ends hidden elements that are left open at the next cell, row or group of rows."""
        if not self._hidden or "table" in self._hidden:
            return
        first = self._hidden[0]
        in_hidden_row = first in ("tr", *_GROUPS) and tag in _CELLS
        if not in_hidden_row and not (first in _GROUPS and tag == "tr"):
            self._hidden.clear()

    def _in_table(self, tag: str, attributes: dict[str, str | None]) -> None:
        table = self._tables[-1]
        if tag in _GROUPS:
            table.group += 1
            table.in_head = tag == "thead"
            return
        if tag == "tr" or not table.rows:
            table.add_row()
        if tag != "tr":
            cell = _Cell(
                columns=min(MAX_COLUMNS, _span(attributes.get("colspan")) or 1),
                rows=_span(attributes.get("rowspan")),
                is_header=tag == "th" or table.in_head,
            )
            table.rows[-1].append(cell)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag not in self._hidden and tag in (*_IMPLIED, "table"):
            self._hidden.clear()  # the end of what is around them
        if self._hidden:
            if tag in self._hidden:
                del self._hidden[len(self._hidden) - 1 - self._hidden[::-1].index(tag) :]
        elif tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag == "sup" and self._raised is not None:
            text, self._raised = "".join(self._raised).strip(), None
            self._add(text.translate(_RAISED) if _POWER.fullmatch(text) else "")
        elif tag == "table" and self._tables:
            self._end_table(self._tables.pop())
        elif tag in _GROUPS and self._tables:
            self._tables[-1].group += 1
            self._tables[-1].in_head = False
        elif tag in _HEADINGS and not self._tables:
            self.written.append("\n\n")
        self._in_title = False

    def _end_table(self, table: _Table) -> None:
        if self._tables:
            return  # a table inside a cell
        marked = [bool(row) and all(cell.is_header for cell in row) for row in table.rows]
        if text := grid_as_markdown(table.grid(), marked):
            self.written.append(f"\n\n{text}\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._skipping or self._hidden:
            return
        elif self._raised is not None:
            self._raised.append(data)
        else:
            self._add(data)

    def _add(self, text: str) -> None:
        if not self._tables:
            self.written.append(" ".join(text.split(" ")) if text.strip() else text[:1])
        elif self._tables[-1].rows and self._tables[-1].rows[-1]:
            self._tables[-1].rows[-1][-1].text.append(text)


def _span(value: str | None) -> int:
    """The number of an attribute; 1 for none and for what is none."""
    return int(value) if value and value.strip().isdecimal() else 1


def grid_as_markdown(grid: Sequence[Sequence[str]], marked: Sequence[bool]) -> str:
    """A table of cells as Markdown; "" without rows. `marked` are the rows that are headers.

    A header of several rows is joined: `Medals Gold` below a wide `Medals`. Rows that say the same
    in all columns before the first data are the table's title, and left out.
    """
    lines = [(tuple(row), is_header) for row, is_header in zip(grid, marked, strict=False)]
    lines = [(row, is_header) for row, is_header in lines if any(row)]
    while lines and len(lines[0][0]) > 1 and len(set(lines[0][0])) == 1:
        del lines[0]
    count = next((at for at, (_, is_header) in enumerate(lines) if not is_header), len(lines))
    header = [row for row, _ in lines[: max(1, count)] if len(row) == 1 or len(set(row)) > 1]
    names = tuple(
        " ".join(dict.fromkeys(row[at] for row in header if row[at]))
        for at in range(len(header[0]) if header else 0)
    )
    rows = tuple(row for row, _ in lines[max(1, count) :])
    return MarkdownTable(columns=names, rows=rows).markdown() if names and rows else ""


def html_as_markdown(html: str) -> tuple[str, str]:
    """Title and Markdown text of a page."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (line.strip() for line in "".join(reader.written).splitlines())
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return " ".join(reader.title.split()), text.strip()
