"""Wikitext as Markdown: headings, plain text and tables."""

import re
from collections.abc import Iterator
from typing import Any

import wikitextparser

from wideseek_data.sources.html_pages import grid_as_markdown
from wideseek_data.sources.wiki_templates import template_text

_MARKUP = re.compile(
    r"<ref[^>]*/>|<ref.*?</ref>|<!--.*?-->|<(?P<struck>s|del|strike)>.*?</(?P=struck)>|'{2,}",
    re.DOTALL | re.IGNORECASE,
)
"""References, comments, struck-out text and quotes for bold and italics."""
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]{1,200}>")
_SPAN = re.compile(r"((?:row|col)span\s*=\s*[\"']?\s*)(\d+)", re.IGNORECASE)
MAX_SPAN = 200
"""Rows or columns that one cell may span."""


def wikitext_as_markdown(text: str) -> str:
    """The text of an article; templates are left out, links keep their words."""
    text = _BREAK.sub(" ", _MARKUP.sub("", text))
    text = _SPAN.sub(lambda match: f"{match[1]}{min(MAX_SPAN, int(match[2][:9]))}", text)
    parsed: Any = wikitextparser.parse(text)
    return "\n\n".join(part for part in _parts(parsed) if part)


def _parts(parsed: Any) -> Iterator[str]:
    for section in parsed.get_sections(include_subsections=False):
        if section.title:
            yield f"{'#' * section.level} {_plain(section.title)}"
        tables = section.get_tables(recursive=False)
        text = str(section.contents)
        for table in tables:
            text = text.replace(str(table.string), "")
        yield _plain(text)
        yield from map(_table, tables)


def _table(table: Any) -> str:
    cells: list[list[Any]] = table.cells(span=True)
    grid = [[_cell(str(cell.value if cell else "")) for cell in row] for row in cells]
    marked = [all(cell is None or cell.is_header for cell in row) for row in cells]
    width = max(map(len, grid), default=0)
    return grid_as_markdown([[*row, *[""] * (width - len(row))] for row in grid], marked)


def _cell(wikitext: str) -> str:
    """The text of a cell; "" if a template in it says something that is not known."""
    library: Any = wikitextparser
    parsed: Any = library.parse(wikitext)
    for template in reversed(parsed.templates):  # the inner ones first
        said = template_text(
            str(template.name),
            [str(item.value) for item in template.arguments if item.positional],
        )
        if said is None:
            return ""
        template.string = said
    for function in reversed(parsed.parser_functions):
        if str(function.name).strip().lower() != "formatnum":
            return ""
        function.string = str(function.arguments[0].value)
    return _plain(str(parsed))


def _plain(wikitext: str) -> str:
    library: Any = wikitextparser
    text = str(library.remove_markup(wikitext))
    lines = (" ".join(_TAG.sub(" ", line).split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
