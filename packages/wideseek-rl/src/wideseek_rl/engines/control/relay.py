"""One address for a server that may come to another host when it is started again."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 2**16
CONNECT_TIMEOUT_S = 10.0
"""Time for the server to accept a connection."""


class Relay:
    """Passes connections to a loopback address on to the server; open with `open_relay`.

    While the server is not there, connections are closed at once, so that clients try again.
    """

    def __init__(self) -> None:
        self.url = ""
        """Address for clients in this process."""
        self._target: tuple[str, int] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def ready(self, url: str) -> None:
        """The server is at an address from now on."""
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)

    async def lost(self, url: str, reason: str) -> None:
        """The server is not there any more: what it was asked won't be answered."""
        self._target = None
        self.close_connections()

    def close_connections(self) -> None:
        """Ends everything that is under way.

        What was not sent yet is dropped: the other end may never take it.
        """
        for writer in self._writers:
            writer.transport.abort()

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes a new connection on."""
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def ended(self) -> None:
        """Ends everything, also attempts to connect, and waits for it."""
        self._target = None
        self.close_connections()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._kept(writer):
            if self._target is None:
                return
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    answers, server = await asyncio.open_connection(*self._target)
            except (OSError, TimeoutError):
                return
            with self._kept(server):
                copies = {
                    asyncio.create_task(_copy(reader, server)),
                    asyncio.create_task(_copy(answers, writer)),
                }
                try:
                    await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for copy in copies:
                        copy.cancel()
                    await asyncio.gather(*copies, return_exceptions=True)

    @contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Generator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def open_relay() -> AsyncGenerator[Relay]:
    """A relay that listens inside the block."""
    relay = Relay()
    server = await asyncio.start_server(relay.take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    relay.url = f"http://{host}:{port}"
    try:
        yield relay
    finally:
        server.close()
        await relay.ended()
