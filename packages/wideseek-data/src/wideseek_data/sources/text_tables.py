"""Tables in the text of a page: Markdown, under the heading that stands above them."""

import re
from collections.abc import Iterator

from wideseek_core.search import Page
from wideseek_core.tables import find_tables
from wideseek_data.tables.build import RawRow, RawTable

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\)")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]")
_EMPHASIS = re.compile(r"(?<![\w*_`])(\*{1,3}|_{1,3}|`)(?=\S)([^*_`]+?)(?<=\S)\1(?![\w*_`])")


def markdown_tables(page: Page, source: str) -> Iterator[RawTable]:
    """The tables of a page, each with its heading as section."""
    for section, text in _sections(page.text):
        for table in find_tables(text):
            yield RawTable(
                title=page.title or section,
                section=section if section != page.title else "",
                names=tuple(map(_words, table.columns)),
                rows=tuple(
                    RawRow(cells=tuple(map(_words, row)), url=page.url) for row in table.rows
                ),
                url=page.url,
                source=source,
            )


def _words(cell: str) -> str:
    """A cell without the marks of Markdown: links, emphasis and code as their words."""
    cell = _LINK.sub(r"\1", _FOOTNOTE.sub("", cell))
    return _EMPHASIS.sub(lambda match: match[2], cell).strip()


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Heading and text of each part; the part before the first heading has none."""
    marks = list(_HEADING.finditer(text))
    ends = [mark.start() for mark in marks] + [len(text)]
    yield "", text[: ends[0]]
    for mark, end in zip(marks, ends[1:], strict=True):
        yield mark[2], text[mark.end() : end]


def first_heading(text: str) -> str:
    """The first heading of a Markdown text; "" without any."""
    mark = _HEADING.search(text)
    return mark[2] if mark else ""
