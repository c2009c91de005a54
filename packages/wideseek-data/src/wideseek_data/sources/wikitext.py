"""Wikitext as Markdown: headings, plain text and tables."""

import re
from collections.abc import Iterator
from typing import Any

import wikitextparser

from wideseek_core.tables import MarkdownTable

_MARKUP = re.compile(r"<ref[^>]*/>|<ref.*?</ref>|<!--.*?-->|'{2,}", re.DOTALL)
_TAG = re.compile(r"<[^>]{1,200}>")


def wikitext_as_markdown(text: str) -> str:
    """The text of an article; templates are left out, links keep their words."""
    parsed: Any = wikitextparser.parse(_MARKUP.sub("", text))
    return "\n\n".join(part for part in _parts(parsed) if part)


def _parts(parsed: Any) -> Iterator[str]:
    for section in parsed.get_sections(include_subsections=False):
        if section.title:
            yield f"{'#' * section.level} {_plain(section.title)}"
        tables = [table for table in section.get_tables(recursive=False)]
        found = [_table(table) for table in tables]
        for table in tables:
            table.string = ""
        yield _plain(section.contents)
        yield from found


def _table(table: Any) -> str:
    rows = [[_plain(str(cell or "")) for cell in row] for row in table.data(span=True)]
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        return ""
    return MarkdownTable(columns=tuple(rows[0]), rows=tuple(map(tuple, rows[1:]))).markdown()


def _plain(wikitext: str) -> str:
    library: Any = wikitextparser
    text = str(library.remove_markup(wikitext))
    lines = (" ".join(_TAG.sub(" ", line).split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
