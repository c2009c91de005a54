"""Metasearch without a key, through the package `ddgs`.

(The package duckduckgo-search is the same under its old, dead name.)
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from aiolimiter import AsyncLimiter

from wideseek_core.errors import ToolUnavailable
from wideseek_core.search import Document
from wideseek_tools.config import DdgsConfig
from wideseek_tools.http import pause_s

Ask = Callable[[str, int], list[Mapping[str, str]]]
"""A query and a number of results to rows of `title`, `href`, `body`."""


class NothingFound(Exception):
    """The engines answered, and had nothing."""


class Ddgs:
    """Runs the blocking package in threads, slowly enough not to be shut out."""

    def __init__(self, config: DdgsConfig, ask: Ask | None = None) -> None:
        self._config = config
        self._ask = ask or _asker(config)
        limits = config.limits
        self._slots = asyncio.Semaphore(limits.concurrent)
        self._rate = AsyncLimiter(1, 1.0 / limits.per_second)

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolUnavailable`."""
        limits, started = self._config.limits, time.monotonic()
        for attempt in (1, 2):  # a refusal by all engines rarely passes soon: one more try
            left = limits.deadline_s - (time.monotonic() - started)
            try:
                async with asyncio.timeout(left), self._slots, self._rate:
                    rows = await asyncio.to_thread(self._ask, query, k)
            except NothingFound:
                return []
            except TimeoutError:
                raise ToolUnavailable(f"ddgs took longer than {limits.deadline_s:g} s") from None
            except ToolUnavailable:
                if attempt == 2 or limits.tries == 1:
                    raise
                await asyncio.sleep(pause_s(attempt))
            else:
                return _documents(rows, k)
        raise AssertionError("the last try returns or raises")


def _documents(rows: list[Mapping[str, str]], k: int) -> list[Document]:
    found = [row for row in rows if row.get("href")]
    return [
        Document(
            url=row["href"], title=row.get("title", ""), text=row.get("body", ""), score=1.0 / rank
        )
        for rank, row in enumerate(found[:k], 1)
    ]


def _asker(config: DdgsConfig) -> Ask:
    import ddgs
    from ddgs.exceptions import DDGSException

    def ask(query: str, k: int) -> list[Mapping[str, str]]:
        try:
            client = cast(Any, ddgs).DDGS(timeout=int(config.limits.timeout_s))
            return [
                {str(name): str(value) for name, value in row.items()}
                for row in client.text(
                    query, region=config.region, max_results=k, backend=config.engines
                )
            ]
        except DDGSException as error:
            if "no results" in str(error).lower():
                raise NothingFound from None
            raise ToolUnavailable(f"ddgs: {type(error).__name__}") from None

    return ask
