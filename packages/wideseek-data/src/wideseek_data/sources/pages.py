"""Tables of page stores: those that pages hold, and those that entry pages hold together."""

from collections.abc import Iterator
from typing import cast

from wideseek_core import DataError
from wideseek_core.files import read_objects
from wideseek_core.search import Page
from wideseek_data.sources.config import AddressFilter, PagesSource
from wideseek_data.sources.content import SourceContent
from wideseek_data.sources.entry_pages import read_entry_pages
from wideseek_data.sources.html_pages import html_as_markdown
from wideseek_data.sources.text_tables import markdown_tables
from wideseek_data.tables.build import RawTable


def read_pages(config: PagesSource) -> SourceContent:
    """The tables of a page store, and the pages that may be used. Raises `DataError`."""
    source = config.name or config.path.stem
    allowed = None if config.only is None else allowed_addresses(config.only)
    pages = [page for page in _pages(config) if allowed is None or page.url in allowed]
    tables: list[RawTable] = list(read_entry_pages(pages, source))
    for page in pages:
        tables += markdown_tables(page, source)
    return SourceContent(tables=tuple(tables), pages=tuple(pages))


def _pages(config: PagesSource) -> Iterator[Page]:
    for number, values in read_objects(config.path):
        url, text, title = (values.get(key, "") for key in ("url", "contents", "title"))
        if not (isinstance(url, str) and isinstance(text, str) and isinstance(title, str) and url):
            raise DataError(f"{config.path}:{number}: 'url' and 'contents' must be strings")
        if "<table" in text:
            found, text = html_as_markdown(text)
            title = title or found
        yield Page(url=url, text=text, title=title)


def allowed_addresses(config: AddressFilter) -> set[str]:
    """The addresses that a filter names. Raises `DataError`."""
    found: set[str] = set()
    for number, values in read_objects(config.path):
        if any(str(values.get(key)) != value for key, value in config.where.items()):
            continue
        listed: object = values.get(config.addresses)
        if not isinstance(listed, list):
            raise DataError(f"{config.path}:{number}: {config.addresses!r} must be a list")
        found.update(map(str, cast(list[object], listed)))
    if not found:
        raise DataError(f"{config.path}: no line has {config.where}")
    return found
