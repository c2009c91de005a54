"""Sends requests by aiohttp, whose parser in C makes many small requests cheap; knows no SOCKS."""

import asyncio
import io
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Self, TypeVar

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from yarl import URL

from wideseek_core.sender import (
    MAX_CONNECT_S,
    HttpRequest,
    Reply,
    Sender,
    broken_off,
    cannot_send,
    header_text,
    is_ascii,
    unreachable,
)

KEEPALIVE_S = 4.0
"""How long an idle connection is kept: uvicorn, which many services run on, closes it after 5 s."""
MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 1000
MAX_UNASKED = 5
"""Connections for one request that are given up since something has arrived on them already."""
MAX_SMALL_BODY = 2**20
"""Bytes that aiohttp sends at once; it wants a file for more."""

T = TypeVar("T")
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, UnicodeError)
"""A UnicodeError is that of a host name that no name service can have."""
_BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)


class AiohttpSender:
    """Keeps connections to the hosts that it is asked for; a `Sender`.

    Once it got an answer that its parser refuses, the other sender sends all that follows: many a
    service sends headers that contradict each other, and is understood all the same.

    Args:
        headers: of every request, in ASCII: aiohttp would send others in UTF-8.
        context: of TLS.
        max_connections: open at once.
        other: makes what sends the requests that aiohttp can't send.
    """

    def __init__(
        self,
        headers: Mapping[str, bytes],
        context: ssl.SSLContext | None,
        max_connections: int,
        other: Callable[[], Sender],
    ) -> None:
        self._headers, self._context = _texts(headers), context
        self._max_connections, self._make_other = max_connections, other
        self._other: Sender | None = None
        self._is_refused = False
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """See `Sender`."""
        if self._context is not None:
            self._context.set_alpn_protocols(["http/1.1"])
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=KEEPALIVE_S,
            ssl=self._context or True,
            resolver=aiohttp.ThreadedResolver(),  # the resolver of the system
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            skip_auto_headers=("Content-Type",),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            response_class=_Response,
            auto_decompress=False,  # the size of what comes out is limited where it is read
            timeout=aiohttp.ClientTimeout(total=None, connect=MAX_CONNECT_S),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def exchange(self, request: HttpRequest, read: Callable[[Reply], Awaitable[T]]) -> T:
        """See `Sender`."""
        if self._is_refused or not is_ascii(request.headers):
            return await (await self._opened_other()).exchange(request, read)
        try:
            response = await self._sent(request)
        except aiohttp.InvalidUrlClientError:  # of a host such as 127.1
            return await (await self._opened_other()).exchange(request, read)
        try:
            headers = _received(response.raw_headers)
            reply = Reply(
                status=response.status,
                headers=headers,
                chunks=_Chunks(response, request),
                encoding=headers.get("content-encoding", ""),
            )
            result = await read(reply)
        except BaseException:
            response.close()
            raise
        response.release()
        return result

    async def close(self) -> None:
        """See `Sender`."""
        try:
            if self._session is not None:
                await self._session.close()
        finally:
            if self._other is not None:
                await self._other.close()

    async def _opened_other(self) -> Sender:
        if self._other is None:
            self._other = self._make_other()
            await self._other.open()
        return self._other

    async def _sent(self, request: HttpRequest) -> aiohttp.ClientResponse:
        assert self._session is not None, "the client is not open"
        # The event loop may not have seen yet that the service closed an idle connection.
        for _ in range(2):
            await asyncio.sleep(0)
        try:
            address = _address(request.url)
        except (httpx2.InvalidURL, ValueError) as error:
            raise cannot_send(error) from None
        try:
            return await _response(self._session, request, address)
        except aiohttp.InvalidUrlClientError:
            raise
        except _UNREACHABLE as error:  # some of them are a ValueError too
            raise unreachable(_reason(error)) from None
        except ValueError as error:
            raise cannot_send(error) from None
        except _BROKEN as error:
            self._is_refused |= isinstance(error, aiohttp.ClientResponseError)
            raise broken_off(_reason(error), request) from None


class _Chunks:
    """A body as it arrives. Raises `ServiceError`."""

    def __init__(self, response: aiohttp.ClientResponse, request: HttpRequest) -> None:
        self._response, self._request = response, request
        self._chunks = response.content.iter_any()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except _BROKEN as error:
            raise broken_off(_reason(error), self._request) from None
        except StopAsyncIteration:
            response = self._response
            if isinstance(response, _Response) and (cut := response.cut_off()):
                raise broken_off(_reason(cut), self._request) from None
            raise


class _Unasked(Exception):
    """Nothing was sent: something had arrived on the connection that nobody asked for."""


class _Request(aiohttp.ClientRequest):
    """Takes no earlier answer for its own, as of a service that says that it waited too long."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        if conn.protocol is None or conn.protocol.should_close:
            raise _Unasked
        return await super().send(conn)


class _Response(aiohttp.ClientResponse):
    """Tells a body that its connection ends from one that is cut off, which aiohttp does not."""

    _handler: ResponseHandler | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        self._handler = connection.protocol
        return await super().start(connection)

    def cut_off(self) -> OSError | None:
        """What broke the connection of a body without any other end; None if nothing did."""
        has_end = (
            "Content-Length" in self.headers
            or "chunked" in self.headers.get("Transfer-Encoding", "").lower()
            or self.method == "HEAD"
            or self.status in (204, 304)
        )
        error = None if has_end or self._handler is None else self._handler.exception()
        return error if isinstance(error, OSError) else None


async def _response(
    session: aiohttp.ClientSession, request: HttpRequest, address: URL
) -> aiohttp.ClientResponse:
    content = request.content
    is_large = content is not None and len(content) > MAX_SMALL_BODY
    for _ in range(MAX_UNASKED):
        try:
            return await session.request(
                request.method,
                address,
                headers=_texts(request.headers),
                data=io.BytesIO(content) if content is not None and is_large else content,
                allow_redirects=False,
                middlewares=(_once,),
            )
        except _Unasked:  # which closed that connection
            continue
    raise unreachable("it sends something before it is asked")


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending a GET again that was broken off: retries have one place."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(_reason(error)) from error


def _texts(headers: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.decode("latin-1") for name, value in headers.items()}


def _received(raw: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    """Headers by their names in small letters; values of one name are joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = header_text(raw_name).lower(), header_text(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@lru_cache(maxsize=64)
def _address(url: str) -> URL:
    """An address in the spelling that httpx2 gives it. Raises `httpx2.InvalidURL`."""
    return URL(str(httpx2.URL(url)), encoded=True)


def _reason(error: BaseException) -> str:
    """What went wrong, without the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionError | TimeoutError) and error.os_error.errno:
            return os.strerror(error.os_error.errno)  # the error's own words are an address
        return error.os_error.strerror or str(error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {MAX_CONNECT_S:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server disconnected"
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return error.message
    if isinstance(error, aiohttp.ClientPayloadError | OSError) and error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
