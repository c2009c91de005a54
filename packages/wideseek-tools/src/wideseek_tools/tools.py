"""Opens the search backend and the page source that a configuration names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from wideseek_core.errors import ConfigError
from wideseek_core.search import PageSource, SearchBackend
from wideseek_tools.config import (
    EmbeddedConfig,
    MemoryConfig,
    MemoryPagesConfig,
    PagesConfig,
    SearchConfig,
    StoreConfig,
    ToolsConfig,
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent searches and reads with."""

    search: SearchBackend
    pages: PageSource


@asynccontextmanager
async def open_tools(config: ToolsConfig, *, index: Path | None = None) -> AsyncIterator[Tools]:
    """The tools of a configuration, closed at the end of the block.

    `index` is the index folder that stands in where the configuration names none. Raises
    `ConfigError` for a missing key, package or path, and `DataError` for an index it can't use.
    """
    async with AsyncExitStack() as stack:
        search = await open_search(config.search, stack, index)
        pages = await open_pages(config.pages, stack, index)
        yield Tools(search, pages)


async def open_search(
    config: SearchConfig, stack: AsyncExitStack, index: Path | None = None
) -> SearchBackend:
    """One search backend, to be closed by `stack`."""
    if isinstance(config, EmbeddedConfig):
        return await _open_embedded(config, stack, index)
    if isinstance(config, MemoryConfig):
        from wideseek_tools.memory import MemorySearch

        return MemorySearch.from_files(config.pages, config.corpus)
    raise ConfigError(f"unknown search {config.kind!r}")


async def _open_embedded(
    config: EmbeddedConfig, stack: AsyncExitStack, index: Path | None
) -> SearchBackend:
    from wideseek_tools.embedded import open_embedded

    folder = config.path or index
    if folder is None:
        raise ConfigError("missing key 'search.path': name an index folder")
    return await stack.enter_async_context(open_embedded(config, folder))


async def open_pages(
    config: PagesConfig, stack: AsyncExitStack, index: Path | None = None
) -> PageSource:
    """One page source, to be closed by `stack`."""
    if isinstance(config, StoreConfig):
        from wideseek_tools.store import STORE, PageStore

        path = config.path or index
        if path is None:
            raise ConfigError("missing key 'pages.path': name an index folder or a page store")
        return stack.enter_context(PageStore(path / STORE if path.is_dir() else path))
    if isinstance(config, MemoryPagesConfig):
        from wideseek_tools.memory import MemoryPages

        return MemoryPages.from_file(config.path)
    raise ConfigError(f"unknown pages {config.kind!r}")
