"""Reads a page of the open web: guarded address, guarded redirects, bounded body, extracted text.

Each hop resolves the host once, refuses it unless every address is public, and connects to the
number that was checked; a name that changes its answer in between gains nothing. There are no
cookies, no environment proxies and no credentials.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from aiolimiter import AsyncLimiter

from wideseek_core.errors import NoContent, ToolRefused, ToolUnavailable
from wideseek_core.search import Page
from wideseek_tools.config import FetchConfig
from wideseek_tools.fetch.address import (
    Resolver,
    checked_url,
    port_of,
    public_addresses,
    resolve,
)
from wideseek_tools.fetch.body import bounded_body
from wideseek_tools.fetch.extract import Extractors
from wideseek_tools.fetch.robots import Robots
from wideseek_tools.http import PASSING, PassingFault, cause, retry_after_s, with_retries

HTML = frozenset({"text/html", "application/xhtml+xml"})
PLAIN = frozenset({"text/plain", "text/markdown", "application/json", "text/csv", "text/x-rst"})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
ROBOTS_BYTES = 500_000
HOSTS = 1000


@dataclass(frozen=True, slots=True)
class Response:
    """One hop's answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Fetcher:
    """A `PageSource` for the open web. Use with `async with`."""

    def __init__(self, config: FetchConfig, resolver: Resolver = resolve) -> None:
        self._config, self._resolver = config, resolver
        self._slots = asyncio.Semaphore(config.limits.concurrent)
        self._rate = AsyncLimiter(max(1.0, config.limits.per_second), 1.0)
        self._hosts: OrderedDict[str, asyncio.Semaphore] = OrderedDict()
        self._robots = Robots(config.user_agent, self._robots_text)
        self._extractors = Extractors(config.extractors, config.extract_s)
        self._stack = AsyncExitStack()
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl.create_default_context(),
            trust_env=False,
            # A kept connection belongs to an address, not to a name: never reuse one.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._transport)
        await self._stack.enter_async_context(self._extractors)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolRefused`, `ToolUnavailable`."""
        address = checked_url(url, self._config.ports)
        async with self._slots:
            name = f"{address.host!r}"
            page = await with_retries(name, self._config.limits, lambda: self._follow(address))
        if not page.text.strip():
            raise NoContent(f"no readable text at {url!r}")
        return page

    async def _follow(self, address: httpx.URL) -> Page:
        for _ in range(self._config.redirects + 1):
            if self._config.robots:
                await self._robots.check(address)
            response = await self._get(address, self._config.limits.max_bytes)
            if response.status not in REDIRECTS:
                return await self._page(address, response)
            address = self._next(address, response)
        raise ToolRefused(f"more than {self._config.redirects} redirects")

    def _next(self, address: httpx.URL, response: Response) -> httpx.URL:
        try:
            target = address.join(response.headers.get("location", ""))
        except (httpx.InvalidURL, ValueError):
            raise ToolRefused("a redirect to something that is no URL") from None
        return checked_url(str(target), self._config.ports)

    async def _page(self, address: httpx.URL, response: Response) -> Page:
        if response.status in (404, 410):
            raise NoContent(f"{address.host!r} has no such page ({response.status})")
        if response.status != 200:
            raise ToolUnavailable(f"{address.host!r} answered {response.status}")
        if response.type in PLAIN:
            text = response.body.decode(_charset(response), "replace")
            return Page(url=str(address), text=text, source="fetch")
        found = await self._extractors.extract(response.body, str(address))
        return Page(url=str(address), text=found.text, title=found.title, source="fetch")

    async def _robots_text(self, address: httpx.URL) -> str | None:
        for _ in range(self._config.redirects + 1):
            response = await self._get(address, ROBOTS_BYTES, any_type=True)
            if response.status in REDIRECTS:
                address = self._next(address, response)
            elif response.status == 200:
                return response.body.decode("utf-8", "replace")
            elif 400 <= response.status < 500:
                return None
            else:
                break
        raise ToolUnavailable(f"robots.txt of {address.host!r} can't be had")

    async def _get(self, address: httpx.URL, limit: int, *, any_type: bool = False) -> Response:
        """One hop. Raises `PassingFault` for what may pass."""
        async with self._host_slots(address.host), self._rate:
            try:
                async with asyncio.timeout(self._config.limits.timeout_s):
                    return await self._exchange(address, limit, any_type)
            except TimeoutError:
                line = f"{address.host!r} took longer than {self._config.limits.timeout_s:g} s"
                raise PassingFault(line) from None
            except httpx.HTTPError as error:
                raise PassingFault(f"{address.host!r}: {cause(error)}") from None

    async def _exchange(self, address: httpx.URL, limit: int, any_type: bool) -> Response:
        port = port_of(address)
        private = address.host in self._config.allowed_hosts
        numbers = await public_addresses(address.host, port, self._resolver, private)
        response = await self._connect(address, numbers)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            head = Response(response.status_code, headers, b"")
            if head.status in PASSING:
                pause = retry_after_s(headers.get("retry-after", ""))
                raise PassingFault(f"{address.host!r} answered {head.status}", pause)
            if head.status != 200:
                return head
            if not any_type and head.type not in HTML | PLAIN:
                raise ToolRefused(f"a page of type {head.type[:60]!r} can't be read")
            encoding = headers.get("content-encoding", "")
            body = await bounded_body(response.aiter_raw(), encoding, limit)
            return Response(head.status, headers, body)
        finally:
            await response.aclose()

    async def _connect(self, address: httpx.URL, numbers: list[str]) -> httpx.Response:
        """The response's head, from the first address that can be reached."""
        failed: httpx.HTTPError | None = None
        for number in numbers[:3]:
            try:
                return await self._transport.handle_async_request(self._request(address, number))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed or httpx.ConnectError("no address")

    def _request(self, address: httpx.URL, number: str) -> httpx.Request:
        seconds = self._config.limits.timeout_s
        timeout = httpx.Timeout(seconds, connect=self._config.connect_s)
        headers = {
            "Host": address.netloc.decode(),
            "User-Agent": self._config.user_agent,
            "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
            "Accept-Encoding": "gzip, deflate",
        }
        extensions = {"timeout": timeout.as_dict(), "sni_hostname": address.raw_host.decode()}
        pinned = address.copy_with(host=number)
        return httpx.Request("GET", pinned, headers=headers, extensions=extensions)

    def _host_slots(self, host: str) -> asyncio.Semaphore:
        found = self._hosts.pop(host, None) or asyncio.Semaphore(self._config.per_host)
        self._hosts[host] = found
        while len(self._hosts) > HOSTS:
            self._hosts.popitem(last=False)
        return found


def _charset(response: Response) -> str:
    """The text encoding that the content type names, if Python knows it."""
    _, found, name = response.headers.get("content-type", "").partition("charset=")
    name = name.split(";")[0].strip("\"' ") if found else "utf-8"
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name
