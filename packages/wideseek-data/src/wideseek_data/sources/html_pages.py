"""HTML as Markdown text with its headings and tables; cells that span rows or columns repeat."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from wideseek_core.tables import MarkdownTable

_SKIPPED = frozenset(("script", "style", "noscript", "template", "sup"))
_BLOCKS = frozenset(("p", "div", "li", "ul", "ol", "br", "section", "article", "dd", "dt"))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
MAX_SPAN = 200
"""Rows or columns that one cell may span."""


@dataclass(slots=True)
class _Cell:
    text: list[str] = field(default_factory=list[str])
    columns: int = 1
    rows: int = 1


@dataclass(slots=True)
class _Table:
    rows: list[list[_Cell]] = field(default_factory=list[list[_Cell]])

    def grid(self) -> list[list[str]]:
        """The cells as a rectangle of texts."""
        filled: dict[tuple[int, int], str] = {}
        for at, row in enumerate(self.rows):
            column = 0
            for cell in row:
                while (at, column) in filled:
                    column += 1
                text = " ".join("".join(cell.text).split())
                for down in range(min(cell.rows, len(self.rows) - at)):
                    for right in range(cell.columns):
                        filled[at + down, column + right] = text
                column += cell.columns
        width = max((column for _, column in filled), default=-1) + 1
        return [
            [filled.get((at, column), "") for column in range(width)]
            for at in range(len(self.rows))
        ]


class _Reader(HTMLParser):
    """Writes Markdown while it reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.written: list[str] = []
        self.title = ""
        self._skipping = 0
        self._in_title = False
        self._tables: list[_Table] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if tag in _SKIPPED:
            self._skipping += 1
        elif tag == "table":
            self._tables.append(_Table())
        elif tag == "tr" and self._tables:
            self._tables[-1].rows.append([])
        elif tag in ("td", "th") and self._tables:
            self._begin_cell(dict(attrs))
        elif tag in _HEADINGS and not self._tables:
            self.written.append(f"\n\n{'#' * _HEADINGS[tag]} ")
        elif tag in _BLOCKS:
            self._add("\n" if not self._tables else " ")

    def _begin_cell(self, attributes: dict[str, str | None]) -> None:
        rows = self._tables[-1].rows
        if not rows:
            rows.append([])
        rows[-1].append(
            _Cell(columns=_span(attributes.get("colspan")), rows=_span(attributes.get("rowspan")))
        )

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag == "table" and self._tables:
            self._end_table(self._tables.pop())
        elif tag in _HEADINGS and not self._tables:
            self.written.append("\n\n")
        self._in_title = False

    def _end_table(self, table: _Table) -> None:
        grid = [row for row in table.grid() if any(row)]
        if self._tables or len(grid) < 2:
            return  # a table inside a cell, or a box without rows
        names, *rows = grid
        text = MarkdownTable(columns=tuple(names), rows=tuple(map(tuple, rows))).markdown()
        self.written.append(f"\n\n{text}\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skipping:
            self._add(data)

    def _add(self, text: str) -> None:
        if not self._tables:
            self.written.append(" ".join(text.split(" ")) if text.strip() else text[:1])
        elif self._tables[-1].rows and self._tables[-1].rows[-1]:
            self._tables[-1].rows[-1][-1].text.append(text)


def _span(value: str | None) -> int:
    return min(MAX_SPAN, max(1, int(value))) if value and value.strip().isdecimal() else 1


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
