"""Sends requests by httpx2, which knows every kind of proxy and header, and has mock transports."""

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self, TypeVar

import httpx2

from wideseek_core.bodies import read_body
from wideseek_core.connections import SpreadTransport
from wideseek_core.sender import (
    MAX_CONNECT_S,
    HttpRequest,
    Reply,
    broken_off,
    cannot_send,
    unreachable,
)

logging.getLogger("httpx2").setLevel(logging.WARNING)  # its other lines hold whole URLs

T = TypeVar("T")


class HttpxSender:
    """Sends requests by a transport of httpx2; a `Sender`.

    Args:
        headers: of every request.
        transport: how they are sent.
        timeout_s: longest wait for a part of an answer.
    """

    def __init__(
        self,
        headers: Mapping[str, bytes],
        transport: httpx2.AsyncBaseTransport,
        timeout_s: float,
    ) -> None:
        self._client = httpx2.AsyncClient(
            headers=_pairs(headers),
            timeout=httpx2.Timeout(timeout_s, connect=min(MAX_CONNECT_S, timeout_s)),
            transport=transport,
            trust_env=False,  # `proxies` has read it
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # keeps none
        )

    async def open(self) -> None:
        """See `Sender`."""
        await self._client.__aenter__()

    async def exchange(self, request: HttpRequest, read: Callable[[Reply], Awaitable[T]]) -> T:
        """See `Sender`."""
        try:
            async with self._client.stream(
                request.method,
                request.url,
                headers=_pairs(request.headers),
                content=request.content,
            ) as response:
                reply = _reply(response)
                return await read(replace(reply, chunks=_Chunks(reply.chunks, request)))
        except (httpx2.ReadTimeout, httpx2.WriteTimeout):
            raise TimeoutError from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
            raise cannot_send(error) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise unreachable(str(error) or type(error).__name__) from None
        except httpx2.HTTPError as error:
            raise broken_off(_reason(error), request) from None

    async def close(self) -> None:
        """See `Sender`."""
        await self._client.aclose()


class _Chunks:
    """A body as it arrives. Raises `ServiceError` and the time-outs of httpx2."""

    def __init__(self, chunks: AsyncIterator[bytes], request: HttpRequest) -> None:
        self._chunks, self._request = chunks, request

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except httpx2.TimeoutException:
            raise
        except httpx2.HTTPError as error:
            raise broken_off(_reason(error), self._request) from None


def _reason(error: httpx2.HTTPError) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def spread(
    context: ssl.SSLContext | None, proxy: str | None, max_connections: int
) -> httpx2.AsyncBaseTransport:
    """Connections through a proxy, or direct ones. `context` is of TLS; plain HTTP needs none."""
    used = context or httpx2.create_ssl_context(verify=False)  # for all pools: it takes a while

    def connect() -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(
            verify=used,
            limits=httpx2.Limits(max_connections=max_connections),
            proxy=_proxy(proxy, context) if proxy else None,
            trust_env=False,
        )

    return SpreadTransport(connect, max_connections)


def _proxy(address: str, context: ssl.SSLContext | None) -> httpx2.Proxy:
    """The proxy. Only one that is itself reached by TLS may be given a context."""
    is_tls = address.lower().startswith("https:")
    return httpx2.Proxy(address, ssl_context=context if is_tls else None)


async def received_body(response: httpx2.Response, max_bytes: int) -> bytes:
    """The whole body of a response, decompressed. Raises `ServiceError`."""
    reply = _reply(response)
    return await read_body(reply.chunks, reply.encoding, max_bytes)


def _reply(response: httpx2.Response) -> Reply:
    encoding, chunks = response.headers.get("content-encoding", ""), response.aiter_raw
    if response.is_stream_consumed:  # by a transport of a test, which decompressed it too
        encoding, chunks = "", response.aiter_bytes
    return Reply(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        chunks=chunks(),
        encoding=encoding,
    )


def _pairs(headers: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value) for name, value in headers.items()]
