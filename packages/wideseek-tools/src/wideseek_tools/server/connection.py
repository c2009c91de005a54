"""A connection that answers plain requests on the hot routes itself.

An HTTP framework's machinery costs more than a BM25 search. So plain `POST`s on `/retrieve` and
`/access` are read and answered here, one after the other. At the first request of any other kind
(another route, a body in chunks or a large one, `Expect`, a head in pieces, nonsense) the
connection goes over to uvicorn's own protocol for good, with all bytes that were not answered.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import orjson
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from wideseek_tools.server.head import Head, read_head
from wideseek_tools.server.routes import Answer, Routes

logger = logging.getLogger(__name__)
LARGEST = 65_536
"""Bytes of a request that are read here, and that wait while another is answered."""
_STATUS = {one.value: b"HTTP/1.1 %d %b\r\n" % (one, one.phrase.encode()) for one in HTTPStatus}
_BROKEN = Answer(500, orjson.dumps({"detail": "the server failed; its log says why"}))


class HotConnection(asyncio.Protocol):
    """One connection. Uvicorn makes it, counts it in its state and tells it to shut down."""

    def __init__(
        self,
        routes: Routes,
        state: ServerState,
        fallback: Callable[[], HttpToolsProtocol],
        idle_s: float,
    ) -> None:
        """After `idle_s`, at most twice that, without a whole request the connection is closed."""
        self._routes, self._state, self._fallback = routes, state, fallback
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle
        self._buffer = b""
        self._busy = self._full = self._paused = self._closing = self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(cast(Any, self))
        self._timer = self._loop.call_later(self._idle_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop. A search that is under way goes on: others may wait for it too."""
        self._timer.cancel()
        self._state.connections.discard(cast(Any, self))
        self._closing, self._buffer = True, b""

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._busy and not self._full:
            self._next()
        elif len(self._buffer) > LARGEST and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Called by the loop when the client does not read its answers."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the loop when it does again."""
        self._full = False
        if not self._busy:
            self._next()

    def shutdown(self) -> None:
        """Called by uvicorn: finish what is being answered, then close."""
        self._closing = True
        if not self._busy:
            self._transport.close()

    def _check(self) -> None:
        if self._busy or self._heard:
            self._heard = False
            self._timer = self._loop.call_later(self._idle_s, self._check)
        else:
            self._transport.close()

    def _next(self) -> None:
        """Begins to answer the next request in the buffer, if it is all there."""
        if not self._buffer or self._closing:
            return
        end = self._buffer.find(b"\r\n\r\n")
        head = read_head(self._buffer[:end]) if 0 < end < LARGEST else None
        if head is None or head.path not in self._routes.hot or end + head.size > LARGEST:
            self._hand_over()
            return
        size = end + 4 + head.size
        if len(self._buffer) >= size:
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._begin(head, body)

    def _begin(self, head: Head, body: bytes) -> None:
        self._busy = self._heard = True
        task = self._loop.create_task(self._answer(head.path, body))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _answer(self, path: str, body: bytes) -> None:
        try:
            answer = await self._routes.answer(path, body)
        except Exception:  # Whatever broke, the client hears of it and the log has the rest.
            logger.exception("a request on %s failed", path)
            answer, self._closing = _BROKEN, True
        if self._transport.is_closing():
            return
        self._transport.write(self._head(answer) + answer.body)
        self._busy = False
        if self._closing:
            self._transport.close()
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._buffer and not self._full:
            self._next()

    def _head(self, answer: Answer) -> bytes:
        more = b"".join([b"%b: %b\r\n" % pair for pair in self._state.default_headers])
        if answer.retry_after_s:
            more += b"retry-after: %d\r\n" % answer.retry_after_s
        if self._closing:
            more += b"connection: close\r\n"
        return b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n" % (
            _STATUS[answer.status],
            len(answer.body),
            more,
        )

    def _hand_over(self) -> None:
        self._timer.cancel()
        self._state.connections.discard(cast(Any, self))
        fallback, data = self._fallback(), self._buffer
        self._buffer = b""
        self._transport.set_protocol(fallback)
        fallback.connection_made(self._transport)
        if self._paused:
            self._transport.resume_reading()
        fallback.data_received(data)


def hot_protocol(routes: Routes) -> type[asyncio.Protocol]:
    """What uvicorn calls for each new connection, as its setting `http`."""

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> HotConnection:
        fallback = partial(HttpToolsProtocol, config, server_state, app_state)
        return HotConnection(routes, server_state, fallback, config.timeout_keep_alive)

    return cast(type[asyncio.Protocol], make)
