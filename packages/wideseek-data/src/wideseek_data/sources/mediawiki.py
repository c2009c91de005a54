"""Tables of a MediaWiki dump."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote
from xml.etree import ElementTree

from wideseek_core import ConfigError, CorruptFile
from wideseek_core.extras import require_modules
from wideseek_core.search import Page
from wideseek_data.sources.config import MediawikiSource
from wideseek_data.sources.content import SourceContent
from wideseek_data.sources.text_tables import markdown_tables
from wideseek_data.tables.build import RawTable

_ERRORS = (
    ElementTree.ParseError,
    LookupError,  # an encoding that nobody knows
    ValueError,  # one that the parser can't read
    OSError,
    EOFError,
    zlib.error,
)


def read_mediawiki(config: MediawikiSource) -> SourceContent:
    """The tables of articles, and the articles that hold some. Raises `DataError`."""
    require_modules(
        "wikitextparser", feature="reading MediaWiki dumps", install="wideseek-data[mediawiki]"
    )
    from wideseek_data.sources.wikitext import wikitext_as_markdown

    if not config.path.is_file():
        raise ConfigError(f"no file at {config.path}")
    source = config.name or config.path.name.partition(".")[0]
    tables: list[RawTable] = []
    pages: list[Page] = []
    for number, (title, text) in enumerate(articles(config.path)):
        if config.max_pages is not None and number >= config.max_pages:
            break
        if not title or "{|" not in text:
            continue
        url = f"{config.base_url}/{quote(title.replace(' ', '_'))}"
        page = Page(url=url, title=title, text=wikitext_as_markdown(text))
        found = list(markdown_tables(page, source))
        tables += found
        pages += [page] if found else []
    return SourceContent(tables=tuple(tables), pages=tuple(pages))


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Title and wikitext of the pages of the main namespace that are no redirects."""
    try:
        with _opened(path) as file:
            for _, element in ElementTree.iterparse(file):
                if element.tag.rpartition("}")[2] != "page":
                    continue
                values = {item.tag.rpartition("}")[2]: item.text or "" for item in element.iter()}
                if values.get("ns", "0") == "0" and "redirect" not in values:
                    yield values.get("title", ""), values.get("text", "")
                element.clear()
    except _ERRORS as error:
        raise CorruptFile(f"{path}: not a MediaWiki dump: {error}") from None


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile | bz2.BZ2File:
    if path.suffix == ".bz2":
        return bz2.open(path)
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
