"""What a source gives: tables before their keys and types are known, and pages."""

from dataclasses import dataclass

from wideseek_core.search import Page
from wideseek_data.tables.build import RawTable
from wideseek_data.teaching.table_layouts import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContent:
    """The tables and pages of one source."""

    tables: tuple[RawTable, ...]
    pages: tuple[Page, ...] = ()
    """The pages that state the tables."""
    base_url: str = ""
    """Address under which pages are made for tables without an address."""
    layout: Layout = Layout.ENTRIES
    """How these pages tell the tables."""
