"""The search backends and page sources that come with this package, one a line.

Further ones come from installed distributions, through the entry-point groups
`wideseek.search_backends` and `wideseek.page_sources`. Each is a `wideseek_core.plugins.Plugin`:
a configuration class with a `kind`, and an async context manager that takes such a configuration
and yields a `wideseek_core.search.SearchBackend` or `PageSource`.
"""

from wideseek_core.plugins import Plugin
from wideseek_tools.backends import (
    brave,
    ddgs,
    embedded,
    jina,
    memory,
    retrieval_server,
    searxng,
    serper,
    store,
    tavily,
)
from wideseek_tools.backends.qdrant import config as qdrant
from wideseek_tools.fetch import config as fetch

SEARCH_GROUP = "wideseek.search_backends"
PAGES_GROUP = "wideseek.page_sources"
SEARCH_BACKENDS: tuple[Plugin, ...] = (
    embedded.SEARCH,
    memory.SEARCH,
    qdrant.SEARCH,
    retrieval_server.SEARCH,
    serper.SEARCH,
    ddgs.SEARCH,
    searxng.SEARCH,
    brave.SEARCH,
    tavily.SEARCH,
)
PAGE_SOURCES: tuple[Plugin, ...] = (
    store.PAGES,
    memory.PAGES,
    retrieval_server.PAGES,
    jina.PAGES,
    fetch.PAGES,
)
