"""A loopback HTTP server in a few lines, with the faults that real services show."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    endless: bool = False
    """Repeats the body until the client has had enough."""
    drip_s: float = 0.0
    """Pause between the bytes of the body."""
    drop: bool = False
    """Closes the connection without an answer."""
    short: bool = False
    """Promises more bytes than it sends."""


def reply(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json", **named})


def page(text: str, kind: str = "text/html", **headers: str) -> Reply:
    return Reply(200, text.encode(), {"content-type": kind, **headers})


FAULTS: dict[str, Reply] = {
    "unauthorised": reply({"message": "no"}, 401),
    "forbidden": reply({"message": "no"}, 403),
    "too many": reply({}, 429, Retry_After="0.01"),
    "server error": reply({}, 500),
    "bad gateway": Reply(502, b"<html>nginx</html>", {"content-type": "text/html"}),
    "slow": Reply(delay_s=3600.0),
    "broken JSON": Reply(200, b'{"organic": [', {"content-type": "application/json"}),
    "another shape": reply([1, 2, 3]),
    "text for a list": reply(
        {"organic": "x", "results": "x", "web": "x", "result": "x", "data": "x"}
    ),
    "dropped": Reply(drop=True),
    "cut short": Reply(200, b'{"organic": []', short=True),
    "endless": Reply(200, b" " * 65536, endless=True),
    "dripping": Reply(200, b" " * 1000, drip_s=0.05),
}


class Stub:
    """Answers by `handler`, or by `replies` in turn (the last one stays)."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: list[Reply] = [Reply()]
        self.handler: Callable[[Request], Reply] | None = None
        self.gate: asyncio.Event | None = None
        """Until it is set, nothing is answered."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body)
        self.requests.append(request)
        answer = self.handler(request) if self.handler else self._next()
        return await self._answer(answer, writer)

    def _next(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def _answer(self, answer: Reply, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(answer.delay_s)
        if self.gate is not None:
            await self.gate.wait()
        if answer.drop:
            return False
        size = len(answer.body) + (100 if answer.short else 0)
        headers = {"content-length": str(size), "connection": "close"} | answer.headers
        if answer.endless:
            del headers["content-length"]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode())
        while answer.endless:
            writer.write(answer.body)
            await writer.drain()
        if answer.drip_s:
            for place in range(len(answer.body)):
                writer.write(answer.body[place : place + 1])
                await writer.drain()
                await asyncio.sleep(answer.drip_s)
        else:
            writer.write(answer.body)
            await writer.drain()
        return False
