"""Reads a page of the open web: guarded address, guarded redirects, bounded body, extracted text.

Each hop resolves the host once, refuses it unless every address is public, and connects to the
number that was checked; a name that changes its answer in between gains nothing. There are no
cookies and no credentials, and no proxy unless the configuration trusts it.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from wideseek_core.bodies import ACCEPT_ENCODING
from wideseek_core.counting import counted
from wideseek_core.errors import (
    ConfigError,
    NoContent,
    ServiceError,
    ServiceFault,
    ToolRefused,
    ToolUnavailable,
)
from wideseek_core.headers import decoded_text, named_charset, retry_after_s
from wideseek_core.httpx_sender import received_body
from wideseek_core.limiter import PASSING_STATUSES, RequestLimiter
from wideseek_core.proxies import certificates, proxy_for
from wideseek_core.search import Page
from wideseek_tools.fetch.address import Resolver, checked_url, port_of, public_addresses, resolve
from wideseek_tools.fetch.config import FetchConfig
from wideseek_tools.fetch.extract import Extractors
from wideseek_tools.fetch.media_type import is_binary, is_html, is_readable, media_type
from wideseek_tools.fetch.robots import Robots
from wideseek_tools.service import tool_errors

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MISSING_STATUSES = frozenset({404, 410})
MAX_ROBOTS_BYTES = 500_000
MAX_HOSTS = 1000
"""Hosts whose slots are remembered."""
MAX_ADDRESSES = 3
"""Addresses of a host that are tried."""


@dataclass(frozen=True, slots=True)
class Response:
    """One hop's answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Fetcher:
    """A `PageSource` for the open web. Use with `async with`.

    Raises `ConfigError` for a proxy in the environment that the configuration does not trust.
    """

    def __init__(self, config: FetchConfig, resolver: Resolver = resolve) -> None:
        self._config, self._resolver = config, resolver
        self._limiter = RequestLimiter("the web", config)
        self._hosts: OrderedDict[str, asyncio.Semaphore] = OrderedDict()
        self._robots = Robots(config.user_agent, self._robots_text)
        self._extractors = Extractors(config.extract_processes, config.extract_timeout_s)
        self._stack = AsyncExitStack()
        self._context = certificates() or ssl.create_default_context()
        self._direct = self._transport(None)
        self._proxied: dict[str, httpx2.AsyncHTTPTransport] = {}
        for scheme in ("http", "https"):
            # Any public host will do here; `NO_PROXY` is looked at for each request.
            if proxy := proxy_for(f"{scheme}://example.com"):
                if not config.trust_proxy:
                    raise ConfigError(
                        "pages.kind=fetch checks the addresses it connects to, which a proxy hides:"
                        " set pages.trust_proxy=true, or unset HTTP_PROXY, HTTPS_PROXY, ALL_PROXY"
                    )
                self._proxied[scheme] = self._transport(proxy)

    def _transport(self, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(
            verify=self._context,
            trust_env=False,
            proxy=httpx2.Proxy(proxy) if proxy else None,
            # A kept connection belongs to an address, not to a name: never reuse one.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        for transport in (self._direct, *self._proxied.values()):
            await self._stack.enter_async_context(transport)
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

        async def attempt(timeout_s: float) -> tuple[httpx2.URL, Response]:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._follow(address)
            except TimeoutError:
                line = f"no answer within {timeout_s:.3g} s"
                raise ServiceError(line, kind=ServiceFault.TIMEOUT, can_pass=True) from None

        with tool_errors():
            async with self._host_slots(address.host):
                found, response = await self._limiter.run(attempt, repr(address.host))
        page = await self._page(found, response)
        if not page.text.strip():
            raise NoContent(f"no readable text at {url!r}")
        return page

    async def _follow(self, address: httpx2.URL) -> tuple[httpx2.URL, Response]:
        """The answer behind all redirects, and where it came from."""
        for _ in range(self._config.max_redirects + 1):
            if self._config.robots:
                await self._robots.check(address)
            response = await self._get(address, self._config.max_bytes)
            if response.status not in REDIRECTS:
                return address, self._checked(address, response)
            address = self._target(address, response)
        raise ToolRefused(f"more than {counted(self._config.max_redirects, 'redirect')}")

    def _checked(self, address: httpx2.URL, response: Response) -> Response:
        if response.status in MISSING_STATUSES:
            raise NoContent(f"{address.host!r} has no such page ({response.status})")
        if response.status != 200:
            raise ToolUnavailable(f"{address.host!r} answered {response.status}")
        return response

    def _target(self, address: httpx2.URL, response: Response) -> httpx2.URL:
        try:
            target = address.join(response.headers.get("location", ""))
        except (httpx2.InvalidURL, ValueError):
            raise ToolRefused("a redirect to something that is no URL") from None
        return checked_url(str(target), self._config.ports)

    async def _page(self, address: httpx2.URL, response: Response) -> Page:
        kind = response.headers.get("content-type", "")
        if not is_html(media_type(kind), response.body):
            text = decoded_text(response.body, kind)
            return Page(url=str(address), text=text, source="fetch")
        found = await self._extractors.extract(response.body, str(address), named_charset(kind))
        return Page(url=str(address), text=found.text, title=found.title, source="fetch")

    async def _robots_text(self, address: httpx2.URL) -> str | None:
        for _ in range(self._config.max_redirects + 1):
            response = await self._get(address, MAX_ROBOTS_BYTES, any_type=True)
            if response.status in REDIRECTS:
                address = self._target(address, response)
            elif response.status == 200:
                return response.body.decode("utf-8", "replace")
            elif 400 <= response.status < 500:
                return None
            else:
                break
        raise ToolUnavailable(f"robots.txt of {address.host!r} can't be had")

    async def _get(self, address: httpx2.URL, limit: int, *, any_type: bool = False) -> Response:
        """One hop. Raises `ServiceError` for what may pass."""
        try:
            return await self._exchange(address, limit, any_type)
        except httpx2.TimeoutException:
            line = "can't be reached in time"
            raise ServiceError(line, kind=ServiceFault.TIMEOUT, can_pass=True) from None
        except (httpx2.ConnectError, httpx2.ProxyError):
            line = "can't be reached"
            raise ServiceError(line, kind=ServiceFault.CONNECT, can_pass=True) from None
        except httpx2.HTTPError as error:
            line = f"the connection broke off ({type(error).__name__})"
            raise ServiceError(line, kind=ServiceFault.CONNECT, can_pass=True) from None

    async def _exchange(self, address: httpx2.URL, limit: int, any_type: bool) -> Response:
        response = await self._connect(address)
        try:
            status = response.status_code
            headers = {name.lower(): value for name, value in response.headers.items()}
            if status in PASSING_STATUSES:
                raise ServiceError(
                    f"answered {status}",
                    kind=ServiceFault.STATUS,
                    status=status,
                    can_pass=True,
                    retry_after_s=retry_after_s(headers),
                )
            if status != 200:
                return Response(status, headers)
            kind = media_type(headers.get("content-type", ""))
            if not any_type and not is_readable(kind):
                raise ToolRefused(f"a page of type {kind[:60]!r} can't be read")
            body = await received_body(response, limit)
            if not any_type and not kind and is_binary(body):
                raise ToolRefused("a page without a type, and no text")
            return Response(status, headers, body)
        finally:
            await response.aclose()

    async def _connect(self, address: httpx2.URL) -> httpx2.Response:
        """The response's head, from the first address that can be reached."""
        private = address.host in self._config.allowed_hosts
        transport = self._direct
        if self._proxied and proxy_for(str(address)):
            transport = self._proxied[address.scheme]
            await self._check_proxied(address, private)
            return await transport.handle_async_request(self._request(address, address.host))
        port = port_of(address)
        numbers = await public_addresses(address.host, port, self._resolver, private)
        failed: httpx2.HTTPError | None = None
        for number in numbers[:MAX_ADDRESSES]:
            try:
                return await transport.handle_async_request(self._request(address, number))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
        raise failed or httpx2.ConnectError("no address")

    async def _check_proxied(self, address: httpx2.URL, private: bool) -> None:
        """Refuses names that are private here; those unknown here are left to the proxy."""
        try:
            await public_addresses(address.host, port_of(address), self._resolver, private)
        except ToolUnavailable:
            return

    def _request(self, address: httpx2.URL, number: str) -> httpx2.Request:
        seconds = self._config.timeout_s
        timeout = httpx2.Timeout(seconds, connect=self._config.connect_timeout_s)
        headers = {
            "Host": address.netloc.decode(),
            "User-Agent": self._config.user_agent,
            "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
            "Accept-Encoding": ACCEPT_ENCODING,
        }
        extensions = {"timeout": timeout.as_dict(), "sni_hostname": address.raw_host.decode()}
        pinned = address.copy_with(host=number)
        return httpx2.Request("GET", pinned, headers=headers, extensions=extensions)

    def _host_slots(self, host: str) -> asyncio.Semaphore:
        found = self._hosts.pop(host, None) or asyncio.Semaphore(self._config.max_per_host)
        self._hosts[host] = found
        while len(self._hosts) > MAX_HOSTS:
            self._hosts.popitem(last=False)
        return found
