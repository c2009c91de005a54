"""Opens the search backend and the page source that a configuration names."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wideseek_core.config import Config
from wideseek_core.endpoint import RequestLimits
from wideseek_core.errors import ToolUnavailable
from wideseek_core.plugins import Plugin, opener
from wideseek_core.search import Document, Page, PageSource, SearchBackend
from wideseek_tools.backends.embedded import EmbeddedConfig
from wideseek_tools.backends.store import StoreConfig
from wideseek_tools.config import PagesConfig, SearchConfig, ToolsConfig
from wideseek_tools.providers import PAGE_SOURCES, PAGES_GROUP, SEARCH_BACKENDS, SEARCH_GROUP


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent searches and reads with."""

    search: SearchBackend
    pages: PageSource


class Unopened:
    """Stands in place of a half that the caller does not use."""

    async def search(self, query: str, k: int) -> list[Document]:
        """Raises `ToolUnavailable`."""
        raise ToolUnavailable("the search was not opened")

    async def read(self, url: str) -> Page:
        """Raises `ToolUnavailable`."""
        raise ToolUnavailable("the pages were not opened")


@asynccontextmanager
async def open_tools(
    config: ToolsConfig,
    *,
    index: Path | None = None,
    only: Literal["search", "pages"] | None = None,
) -> AsyncGenerator[Tools]:
    """The tools of a configuration, closed at the end of the block.

    `index` is the index folder that is used where the configuration names none. `only` opens one
    half, so that the settings of the other need not be there. Raises `ConfigError` for a missing
    key, package or path, and `DataError` for an index it can't use.
    """
    async with AsyncExitStack() as stack:
        if config.replay is not None:
            from wideseek_tools.record import Replay

            replay = Replay(config.replay)
            yield Tools(replay, replay)
            return
        tools = Tools(
            Unopened() if only == "pages" else await open_search(config.search, stack, index),
            Unopened() if only == "search" else await open_pages(config.pages, stack, index),
        )
        yield _wrapped(tools, config, stack)


def _wrapped(tools: Tools, config: ToolsConfig, stack: AsyncExitStack) -> Tools:
    """Around the tools a cache, and around that the recorder: it sees what the agent sees."""
    if config.cache is not None:
        from wideseek_tools.cache import Cache, CachedPages, CachedSearch

        cache = stack.enter_context(Cache(config.cache))
        tools = Tools(
            CachedSearch(tools.search, cache, _identity(config.search)),
            CachedPages(tools.pages, cache, _identity(config.pages)),
        )
    if config.record is not None:
        from wideseek_tools.record import Recorder, RecordingPages, RecordingSearch

        recorder = Recorder(config.record)
        tools = Tools(
            RecordingSearch(tools.search, recorder), RecordingPages(tools.pages, recorder)
        )
    return tools


def _identity(config: Config) -> str:
    """What decides a backend's answers: its settings, without how patiently it is asked."""
    return config.model_dump_json(exclude={*RequestLimits.model_fields, "api_key_env"})


async def open_search(
    config: SearchConfig, stack: AsyncExitStack, index: Path | None = None
) -> SearchBackend:
    """One search backend, to be closed by `stack`."""
    if isinstance(config, EmbeddedConfig) and config.path is None:
        config = config.model_copy(update={"path": index})
    found = _opener(SEARCH_BACKENDS, SEARCH_GROUP, config)
    return await stack.enter_async_context(found(config))


async def open_pages(
    config: PagesConfig, stack: AsyncExitStack, index: Path | None = None
) -> PageSource:
    """One page source, to be closed by `stack`."""
    if isinstance(config, StoreConfig) and config.path is None:
        config = config.model_copy(update={"path": index})
    found = _opener(PAGE_SOURCES, PAGES_GROUP, config)
    return await stack.enter_async_context(found(config))


def _opener(builtin: Iterable[Plugin], group: str, config: Config) -> Callable[..., Any]:
    for plugin in builtin:
        if type(config) is plugin.config:
            return plugin.open
    return opener(group, config)
