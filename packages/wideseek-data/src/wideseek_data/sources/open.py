"""Reads a source. The one place that tells the kinds apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from wideseek_core.plugins import opener
from wideseek_core.search import Page
from wideseek_data.sources.config import (
    SOURCES_GROUP,
    FolderSource,
    MediawikiSource,
    PagesSource,
    SourceConfig,
)
from wideseek_data.sources.content import SourceContent
from wideseek_data.tables.build import NoTable, RawTable, build_table
from wideseek_data.tables.table import Table
from wideseek_data.teaching.table_layouts import laid_out


def read_source(config: SourceConfig) -> SourceContent:
    """The tables and pages of a source. Raises `ConfigError`, `DataError`."""
    match config:
        case FolderSource():
            from wideseek_data.sources.folder import read_folder

            return read_folder(config)
        case PagesSource():
            from wideseek_data.sources.pages import read_pages

            return read_pages(config)
        case MediawikiSource():
            from wideseek_data.sources.mediawiki import read_mediawiki

            return read_mediawiki(config)
        case _:
            content: SourceContent = opener(SOURCES_GROUP, config)(config)
            return content


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table of a source with pages made for it, or why it can't be used."""

    table: Table | None
    pages: tuple[Page, ...] = ()
    problem: str = ""


def found_tables(content: SourceContent) -> Iterator[FoundTable]:
    """The typed tables of a source; those without an address get pages of their own."""
    for raw in content.tables:
        try:
            table = build_table(raw, table_id(raw))
        except NoTable as problem:
            yield FoundTable(table=None, problem=str(problem))
            continue
        if table.url:
            yield FoundTable(table=table)
        else:
            placed, pages = laid_out(table, content.layout, content.base_url)
            yield FoundTable(table=placed, pages=tuple(pages))


def table_id(raw: RawTable) -> str:
    """An id that depends on where the table is, and on nothing that other tables change."""
    parts: Iterable[str] = (raw.source, raw.url, raw.title, raw.section, *raw.names)
    return blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
