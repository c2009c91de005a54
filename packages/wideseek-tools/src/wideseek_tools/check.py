"""Which backends work here and now, and what to do about the others."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.errors import WideSeekError
from wideseek_tools.config import (
    BraveConfig,
    DdgsConfig,
    EmbeddedConfig,
    FetchConfig,
    JinaConfig,
    Limits,
    PagesConfig,
    QdrantConfig,
    SearchConfig,
    SearxngConfig,
    SerperConfig,
    ServerConfig,
    StoreConfig,
    TavilyConfig,
)
from wideseek_tools.tools import open_pages, open_search


class CheckConfig(Config):
    """The backends as they would be used; each is asked once."""

    embedded: EmbeddedConfig = EmbeddedConfig()
    qdrant: QdrantConfig = QdrantConfig()
    server: ServerConfig = ServerConfig()
    serper: SerperConfig = SerperConfig()
    ddgs: DdgsConfig = DdgsConfig()
    searxng: SearxngConfig = SearxngConfig()
    brave: BraveConfig = BraveConfig()
    tavily: TavilyConfig = TavilyConfig()
    store: StoreConfig = StoreConfig()
    jina: JinaConfig = JinaConfig()
    fetch: FetchConfig = FetchConfig()
    query: str = "capital of France"
    page: str = "https://example.org/"
    timeout_s: float = Field(default=10.0, gt=0)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one backend."""

    backend: str
    works: bool
    note: str


async def check(config: CheckConfig) -> list[Finding]:
    """Tries every backend once, one after the other."""
    searches: tuple[SearchConfig, ...] = (
        config.embedded,
        config.qdrant,
        config.server,
        config.serper,
        config.ddgs,
        config.searxng,
        config.brave,
        config.tavily,
    )
    pages: tuple[PagesConfig, ...] = (config.store, config.jina, config.fetch)
    findings = [await _search(one, config) for one in searches]
    return findings + [await _read(one, config) for one in pages]


def _brief(limits: Limits, timeout_s: float) -> dict[str, Limits]:
    update = {"tries": 1, "timeout_s": timeout_s, "deadline_s": timeout_s}
    return {"limits": limits.model_copy(update=update)}


async def _search(search: SearchConfig, config: CheckConfig) -> Finding:
    if isinstance(
        search,
        ServerConfig | SerperConfig | DdgsConfig | SearxngConfig | BraveConfig | TavilyConfig,
    ):
        search = search.model_copy(update=_brief(search.limits, config.timeout_s))

    async def ask(stack: AsyncExitStack) -> str:
        backend = await open_search(search, stack)
        return f"{len(await backend.search(config.query, 3))} results"

    return await _try(f"search: {search.kind}", ask)


async def _read(pages: PagesConfig, config: CheckConfig) -> Finding:
    if isinstance(pages, JinaConfig | FetchConfig):
        pages = pages.model_copy(update=_brief(pages.limits, config.timeout_s))

    async def ask(stack: AsyncExitStack) -> str:
        source = await open_pages(pages, stack)
        if isinstance(pages, StoreConfig):
            return "opens"
        return f"{len((await source.read(config.page)).text)} characters"

    return await _try(f"pages: {pages.kind}", ask)


async def _try(name: str, ask: Callable[[AsyncExitStack], Awaitable[str]]) -> Finding:
    try:
        async with AsyncExitStack() as stack:
            return Finding(name, True, await ask(stack))
    except WideSeekError as error:
        return Finding(name, False, str(error))
