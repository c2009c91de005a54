"""robots.txt, asked once per site and hour."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx2
from protego import Protego

from wideseek_core.errors import ToolRefused

TTL_S = 3600.0
MAX_SITES = 2000

Get = Callable[[httpx2.URL], Awaitable[str | None]]
"""The text of a robots.txt; None if the site has none. Raises `ToolError` if it can't be had."""


class Robots:
    """Remembers what sites allow."""

    def __init__(self, agent: str, get: Get) -> None:
        self._agent, self._get = agent, get
        self._known: dict[str, tuple[float, Protego | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def check(self, address: httpx2.URL) -> None:
        """Raises `ToolRefused` if the site does not want this page to be read."""
        site = f"{address.scheme}://{address.netloc.decode()}"
        rules = await self._rules(site, address)
        if rules is not None and not rules.can_fetch(str(address), self._agent):
            raise ToolRefused(f"robots.txt of {address.host!r} does not allow this page")

    async def _rules(self, site: str, address: httpx2.URL) -> Protego | None:
        lock = self._locks.setdefault(site, asyncio.Lock())
        async with lock:
            known = self._known.get(site)
            if known is not None and time.monotonic() - known[0] < TTL_S:
                return known[1]
            text = await self._get(address.copy_with(raw_path=b"/robots.txt"))
            rules = Protego.parse(text) if text is not None else None
            if len(self._known) >= MAX_SITES:
                oldest = next(iter(self._known))
                self._known.pop(oldest)
                self._locks.pop(oldest, None)
            self._known.pop(site, None)
            self._known[site] = (time.monotonic(), rules)
            return rules
