"""Which backends work here and now, and what to do about the others."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from wideseek_core.config import Config
from wideseek_core.counting import counted
from wideseek_core.endpoint import RequestLimits
from wideseek_core.errors import WideSeekError
from wideseek_core.fields import kind_of
from wideseek_core.plugins import Plugin, installed
from wideseek_tools.backends.store import StoreConfig
from wideseek_tools.open import open_pages, open_search
from wideseek_tools.providers import PAGE_SOURCES, PAGES_GROUP, SEARCH_BACKENDS, SEARCH_GROUP


def _every_kind(builtin: Iterable[Plugin], group: str) -> type[Config]:
    """A configuration with a key for each backend that needs no settings, named by its kind."""
    others = [plugin for plugin in installed(group).values() if isinstance(plugin, Plugin)]
    fields: dict[str, Any] = {}
    for plugin in [*builtin, *others]:
        if not any(field.is_required() for field in plugin.config.model_fields.values()):
            fields[str(kind_of(plugin.config))] = (plugin.config, plugin.config())
    return create_model("EveryKind", __base__=Config, **fields)


if TYPE_CHECKING:
    EverySearch = Config
    EveryPages = Config
else:
    EverySearch = _every_kind(SEARCH_BACKENDS, SEARCH_GROUP)
    EveryPages = _every_kind(PAGE_SOURCES, PAGES_GROUP)


class CheckConfig(Config):
    """The backends as they would be used, by kind; each is asked once."""

    search: EverySearch = EverySearch()
    pages: EveryPages = EveryPages()
    query: str = "capital of France"
    """What every search backend is asked."""
    page: str = "https://example.org/"
    """What every page source is asked for."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Timeout of one backend."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one backend."""

    backend: str
    works: bool
    note: str


async def check(config: CheckConfig) -> list[Finding]:
    """Tries every backend once, one after the other."""
    findings = [
        await _search(kind, settings, config) for kind, settings in _settings(config.search)
    ]
    return findings + [
        await _read(kind, settings, config) for kind, settings in _settings(config.pages)
    ]


def _settings(every: Config) -> list[tuple[str, Config]]:
    return [(kind, getattr(every, kind)) for kind in type(every).model_fields]


def _hurried(settings: Config, timeout_s: float) -> Config:
    if not isinstance(settings, RequestLimits):
        return settings
    update = {"max_attempts": 1, "timeout_s": timeout_s, "deadline_s": timeout_s}
    return settings.model_copy(update=update)


async def _search(kind: str, settings: Config, config: CheckConfig) -> Finding:
    async def ask(stack: AsyncExitStack) -> str:
        backend = await open_search(_hurried(settings, config.timeout_s), stack)
        return counted(len(await backend.search(config.query, 3)), "result")

    return await _try(f"search: {kind}", ask)


async def _read(kind: str, settings: Config, config: CheckConfig) -> Finding:
    async def ask(stack: AsyncExitStack) -> str:
        source = await open_pages(_hurried(settings, config.timeout_s), stack)
        if isinstance(settings, StoreConfig):
            return "opens"
        return counted(len((await source.read(config.page)).text), "character")

    return await _try(f"pages: {kind}", ask)


async def _try(name: str, ask: Callable[[AsyncExitStack], Awaitable[str]]) -> Finding:
    try:
        async with AsyncExitStack() as stack:
            return Finding(name, True, await ask(stack))
    except WideSeekError as error:
        return Finding(name, False, str(error))
