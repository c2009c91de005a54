"""A small HTTP/1.1 server on loopback that can be killed, hung and started again at its address."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty if there is no body."""
        return json.loads(self.body) if self.body else {}

    def option(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What it is answered."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"

    @classmethod
    def of(cls, content: object, status: int = 200) -> "Response":
        """A JSON answer."""
        return cls(status=status, body=json.dumps(content).encode())


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class HttpServer:
    """Serves a handler. Use with `async with`; `kill` ends it as a crash would."""

    handler: Handler
    port: int = 0
    host: str = "127.0.0.1"
    """Where it listens: on the address of a node only where a cluster reaches it there."""
    requests: list[Request] = field(default_factory=list[Request])
    """Every request so far, in order of arrival."""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        """The address, the same for all of its lives."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Listens; after a `kill` at the same port again."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Drops every connection in the midst of whatever it does, and stops listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        ending = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def paths(self) -> list[str]:
        """The paths of all POST requests so far."""
        return [request.path for request in self.requests if request.method == "POST"]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or this server was killed
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; false when the connection has ended."""
        line = (await reader.readline()).decode("latin-1").split()
        if len(line) != 3:
            return False
        length = 0
        while (header := (await reader.readline()).decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        parts = urlsplit(line[1])
        request = Request(
            method=line[0],
            path=parts.path,
            query=parse_qs(parts.query),
            body=await reader.readexactly(length),
        )
        self.requests.append(request)
        response = await self._answer(request, reader)
        if response is None:
            return False
        head = (
            f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\n"
            f"Content-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\n\r\n"
        )
        writer.write(head.encode() + response.body)
        await writer.drain()
        return True

    async def _answer(self, request: Request, reader: asyncio.StreamReader) -> Response | None:
        """The handler's answer; None if the client goes first, which cancels the handler."""
        answer = asyncio.ensure_future(self.handler(request))
        gone = asyncio.ensure_future(reader.read(1))  # clients do not send two requests at once
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        except (ConnectionError, asyncio.IncompleteReadError):
            raise  # a handler that plays a crash
        except Exception as error:  # noqa: BLE001 - the client's error then says what is wrong here
            return Response.of({"error": f"{type(error).__name__}: {error}"}, 500)
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.wait((answer, gone))


def _phrase(status: int) -> str:
    """The phrase of a status; servers also make up statuses of their own."""
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else "Other"
