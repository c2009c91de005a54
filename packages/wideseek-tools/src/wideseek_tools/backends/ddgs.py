"""Metasearch without a key, through the package `ddgs`.

(The package duckduckgo-search is the same under its old, dead name.)
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

from wideseek_core.endpoint import RequestLimits
from wideseek_core.errors import ServiceError, ServiceFault
from wideseek_core.extras import require_modules
from wideseek_core.limiter import RequestLimiter
from wideseek_core.plugins import Plugin
from wideseek_core.proxies import proxy_for
from wideseek_core.search import Document
from wideseek_tools.service import tool_errors

Ask = Callable[[str, int], list[Mapping[str, str]]]
"""A query and a number of results to rows of `title`, `href`, `body`."""


class DdgsConfig(RequestLimits):
    """Metasearch through the package `ddgs`; needs no key. Not for evaluation runs."""

    kind: Literal["ddgs"] = "ddgs"
    region: str = "us-en"
    engines: str = "auto"
    max_concurrent: int = 2
    max_requests_per_s: float | None = 1.0
    max_attempts: int = 2
    """A refusal by all engines rarely passes soon."""
    timeout_s: float = 20.0
    deadline_s: float = 90.0


class Ddgs:
    """Runs the blocking package in threads, slowly enough not to be shut out."""

    def __init__(self, config: DdgsConfig, ask: Ask | None = None) -> None:
        self._ask = ask or _asker(config)
        self._limiter = RequestLimiter("ddgs", config)

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolUnavailable`."""

        async def attempt(timeout_s: float) -> list[Mapping[str, str]]:
            try:
                async with asyncio.timeout(timeout_s):
                    return await asyncio.to_thread(self._ask, query, k)
            except TimeoutError:
                line = f"no answer within {timeout_s:.3g} s"
                raise ServiceError(line, kind=ServiceFault.TIMEOUT) from None

        with tool_errors():
            return _documents(await self._limiter.run(attempt), k)


def _documents(rows: list[Mapping[str, str]], k: int) -> list[Document]:
    found = [row for row in rows if row.get("href")]
    return [
        Document(
            url=row["href"], title=row.get("title", ""), text=row.get("body", ""), score=1.0 / rank
        )
        for rank, row in enumerate(found[:k], 1)
    ]


def _asker(config: DdgsConfig) -> Ask:
    proxy = proxy_for("https://duckduckgo.com")

    def ask(query: str, k: int) -> list[Mapping[str, str]]:
        import ddgs
        from ddgs.exceptions import DDGSException

        try:
            client = cast(Any, ddgs).DDGS(proxy=proxy, timeout=int(config.timeout_s))
            return [
                {str(name): str(value) for name, value in row.items()}
                for row in client.text(
                    query, region=config.region, max_results=k, backend=config.engines
                )
            ]
        except DDGSException as error:
            if "no results" in str(error).lower():
                return []
            line = f"the engines did not answer ({type(error).__name__})"
            raise ServiceError(line, kind=ServiceFault.STATUS, can_pass=True) from None
        except Exception as error:  # noqa: BLE001 - parsers of a dozen engines
            line = f"the package failed ({type(error).__name__})"
            raise ServiceError(line, kind=ServiceFault.STATUS, can_pass=True) from None

    return ask


@asynccontextmanager
async def open_ddgs(config: DdgsConfig) -> AsyncGenerator[Ddgs]:
    """The backend. Raises `ConfigError` if the extra `web` is not installed."""
    require_modules("ddgs", feature="search.kind=ddgs", install="wideseek-tools[web]")
    yield Ddgs(config)


SEARCH = Plugin(config=DdgsConfig, open=open_ddgs)
