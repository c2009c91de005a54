"""Opens the search backend and the page source that a configuration names."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from wideseek_core.errors import ConfigError
from wideseek_core.search import PageSource, SearchBackend
from wideseek_tools.config import (
    BraveConfig,
    DdgsConfig,
    EmbeddedConfig,
    JinaConfig,
    MemoryConfig,
    MemoryPagesConfig,
    PagesConfig,
    QdrantConfig,
    SearchConfig,
    SearxngConfig,
    SerperConfig,
    ServerConfig,
    ServerPagesConfig,
    StoreConfig,
    TavilyConfig,
    ToolsConfig,
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent searches and reads with."""

    search: SearchBackend
    pages: PageSource


@asynccontextmanager
async def open_tools(config: ToolsConfig, *, index: Path | None = None) -> AsyncGenerator[Tools]:
    """The tools of a configuration, closed at the end of the block.

    `index` is the index folder that stands in where the configuration names none. Raises
    `ConfigError` for a missing key, package or path, and `DataError` for an index it can't use.
    """
    async with AsyncExitStack() as stack:
        if config.replay is not None:
            from wideseek_tools.record import Replay

            replay = Replay(config.replay)
            yield Tools(replay, replay)
            return
        tools = Tools(
            await open_search(config.search, stack, index),
            await open_pages(config.pages, stack, index),
        )
        yield _wrapped(tools, config, stack)


def _wrapped(tools: Tools, config: ToolsConfig, stack: AsyncExitStack) -> Tools:
    """Around the tools a cache, and around that the recorder: it sees what the agent sees."""
    if config.cache is not None:
        from wideseek_tools.cache import Cache, CachedPages, CachedSearch

        cache = stack.enter_context(Cache(config.cache))
        search = config.search.model_dump_json(exclude={"limits"})
        pages = config.pages.model_dump_json(exclude={"limits"})
        tools = Tools(
            CachedSearch(tools.search, cache, search), CachedPages(tools.pages, cache, pages)
        )
    if config.record is not None:
        from wideseek_tools.record import Recorder, RecordingPages, RecordingSearch

        recorder = Recorder(config.record)
        tools = Tools(
            RecordingSearch(tools.search, recorder), RecordingPages(tools.pages, recorder)
        )
    return tools


async def open_search(
    config: SearchConfig, stack: AsyncExitStack, index: Path | None = None
) -> SearchBackend:
    """One search backend, to be closed by `stack`."""
    if isinstance(config, EmbeddedConfig):
        return await _open_embedded(config, stack, index)
    if isinstance(config, MemoryConfig):
        from wideseek_tools.memory import MemorySearch

        return MemorySearch.from_files(config.pages, config.corpus)
    if isinstance(config, QdrantConfig):
        from wideseek_tools.qdrant import open_qdrant

        return await open_qdrant(config, stack)
    if isinstance(config, ServerConfig):
        from wideseek_tools.backends.server import open_server

        return await open_server(config, stack)
    return await _open_online(config, stack)


async def _open_online(
    config: SerperConfig | DdgsConfig | SearxngConfig | BraveConfig | TavilyConfig,
    stack: AsyncExitStack,
) -> SearchBackend:
    if isinstance(config, SerperConfig):
        from wideseek_tools.backends.serper import open_serper

        return await open_serper(config, stack)
    if isinstance(config, SearxngConfig):
        from wideseek_tools.backends.searxng import open_searxng

        return await open_searxng(config, stack)
    if isinstance(config, BraveConfig):
        from wideseek_tools.backends.brave import open_brave

        return await open_brave(config, stack)
    if isinstance(config, TavilyConfig):
        from wideseek_tools.backends.tavily import open_tavily

        return await open_tavily(config, stack)
    from wideseek_tools.backends.ddgs import Ddgs

    return Ddgs(config)


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
    if isinstance(config, ServerPagesConfig):
        from wideseek_tools.backends.server import open_server_pages

        return await open_server_pages(config, stack)
    if isinstance(config, JinaConfig):
        from wideseek_tools.backends.jina import open_jina

        return await open_jina(config, stack)
    from wideseek_tools.fetch.fetcher import Fetcher

    return await stack.enter_async_context(Fetcher(config))
