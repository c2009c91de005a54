"""What `HttpClient` needs of the library that sends its requests, and how failures are reported."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from wideseek_core.errors import ServiceError, ServiceFault
from wideseek_core.text import one_line

MAX_CONNECT_S = 30.0
"""Longest time to reach a service, within the timeout of an attempt."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to send."""

    method: str
    url: str
    headers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Beside those that every request of the client has."""
    content: bytes | None = None
    idempotent: bool = True
    """Whether it may be sent again although the service may have received it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response whose body has not been read."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    chunks: AsyncIterator[bytes]
    """The body as it arrives. Raises `ServiceError` where it breaks off."""
    encoding: str
    """How the chunks are compressed: a `Content-Encoding`, which may be empty."""


class Sender(Protocol):
    """Sends requests, each once and by itself: it follows no redirects and keeps no cookies."""

    async def open(self) -> None:
        """Gets ready to connect, on the running event loop."""
        ...

    async def exchange(self, request: HttpRequest, read: Callable[[Reply], Awaitable[T]]) -> T:
        """Sends a request and reads its answer.

        The connection is closed unless `read` has read the whole body, also on cancellation: a
        service notices that nobody waits any more. Raises `ServiceError` for a request that can't
        be sent or has no complete answer, and `TimeoutError`.
        """
        ...

    async def close(self) -> None:
        """Closes all connections."""
        ...


def cannot_send(error: Exception) -> ServiceError:
    """The fault of a request that is not HTTP."""
    return ServiceError(f"the request can't be sent: {error}", kind=ServiceFault.REFUSED)


def unreachable(reason: str) -> ServiceError:
    """The fault of a service that nothing has been sent to."""
    can_pass = "CERTIFICATE" not in reason
    return ServiceError(f"can't be reached: {reason}", kind=ServiceFault.CONNECT, can_pass=can_pass)


def broken_off(reason: str, request: HttpRequest) -> ServiceError:
    """The fault of a connection that ended before the answer did."""
    line = f"the connection broke off ({one_line(reason)})"
    return ServiceError(line, kind=ServiceFault.CONNECT, can_pass=request.idempotent)


def is_ascii(headers: Mapping[str, bytes]) -> bool:
    """Whether every value is ASCII."""
    return all(value.isascii() for value in headers.values())


def header_text(value: bytes) -> str:
    """A received header's value: in UTF-8 as most servers write it, else in Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
