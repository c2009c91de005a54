import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

import uvicorn

from wideseek_core.errors import ToolUnavailable
from wideseek_tools.batching import Batcher
from wideseek_tools.page_store import PageStore, build_store
from wideseek_tools.passages import Hit, Passage
from wideseek_tools.server.app import make_app
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.connection import LARGEST, hot_protocol
from wideseek_tools.server.head import Head, read_head
from wideseek_tools.server.routes import Routes


class Echo:
    """A search that finds one passage, the query itself; `wait` waits and `bug` is one."""

    def __init__(self) -> None:
        self.release, self.asked = asyncio.Event(), asyncio.Event()
        self.batcher: Batcher[tuple[str, int], list[Hit]] = Batcher(self._work, workers=2)

    async def _work(self, keys: list[tuple[str, int]]) -> list[list[Hit]]:
        self.asked.set()
        if any(text == "wait" for text, _ in keys):
            await self.release.wait()
        if any(text == "bug" for text, _ in keys):
            raise ZeroDivisionError
        if any(text == "fail" for text, _ in keys):
            raise ToolUnavailable("the index did not answer")
        return [[(Passage(id="1", url="u", title="t", contents=text), 1.0)] for text, _ in keys]


@dataclass(frozen=True, slots=True)
class Running:
    """A server, its search and its port."""

    server: uvicorn.Server
    search: Echo
    port: int
    clients: "list[Client]"

    async def connect(self) -> "Client":
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def found(self) -> list[str]:
        return [each[0]["contents"] for each in json.loads(self.body)["result"]]


@dataclass(frozen=True, slots=True)
class Client:
    """One connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> Reply:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(head[0].split()[1]), headers, body)

    async def closed(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncGenerator[Running]:
    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "http://a.org/io", "contents": "A moon."}\n')
    build_store(pages, tmp_path / "pages.sqlite")
    search = Echo()
    with PageStore(tmp_path / "pages.sqlite") as store:
        async with search.batcher:
            routes = Routes(search, store, ServeConfig())
            config = uvicorn.Config(
                make_app(routes, {}), port=0, http=hot_protocol(routes), log_level="critical",
                timeout_keep_alive=1, timeout_graceful_shutdown=5,
            )  # fmt: skip
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            running = Running(server, search, port, [])
            yield running
            search.release.set()
            for client in running.clients:
                client.writer.transport.abort()
            server.should_exit = True
            await serving


def post(query: str, *, path: str = "/retrieve", more: str = "", version: str = "1.1") -> bytes:
    body = json.dumps({"queries": [query]}).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_connection_stays_open(running: Running) -> None:
    client = await running.connect()
    for query in ("a", "b"):
        client.send(post(query))
        reply = await client.reply()
        assert (reply.status, reply.found) == (200, [query])
        assert reply.headers["content-type"] == "application/json"
        assert {"date", "server"} <= set(reply.headers)


async def test_requests_sent_ahead_are_answered_in_order(running: Running) -> None:
    client = await running.connect()
    client.send(b"".join(post(query) for query in "abcdef"))
    assert [(await client.reply()).found for _ in range(6)] == [[one] for one in "abcdef"]


async def test_another_route_on_the_same_connection(running: Running) -> None:
    client = await running.connect()
    client.send(post("a") + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + post("b"))
    assert (await client.reply()).found == ["a"]
    assert json.loads((await client.reply()).body)["status"] == "ok"
    assert (await client.reply()).found == ["b"]


@pytest.mark.parametrize("size", [1, 7, 60, 100])
async def test_request_in_pieces(running: Running, size: int) -> None:
    client = await running.connect()
    data = post("a piece of cake") + post("and another")
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.reply()).found == ["a piece of cake"]
    assert (await client.reply()).found == ["and another"]


async def test_body_after_its_head(running: Running) -> None:
    client = await running.connect()
    head, _, body = post("late").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    await asyncio.sleep(0.05)
    client.send(body)
    assert (await client.reply()).found == ["late"]


async def test_chunked_body(running: Running) -> None:
    client = await running.connect()
    client.send(
        b"POST /retrieve HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"querie\r\nb\r\ns": ["io"]}\r\n0\r\n\r\n'
    )
    assert (await client.reply()).found == ["io"]


async def test_client_that_asks_before_it_sends(running: Running) -> None:
    client = await running.connect()
    head, _, body = post("io", more="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert (await client.reply()).status == 100
    client.send(body)
    assert (await client.reply()).found == ["io"]


@pytest.mark.parametrize(
    "request_", [post("io", more="Connection: close\r\n"), post("io", version="1.0")]
)
async def test_client_that_wants_one_answer(running: Running, request_: bytes) -> None:
    client = await running.connect()
    client.send(request_)
    assert (await client.reply()).found == ["io"]
    assert await client.closed()


async def test_large_body_and_one_too_large(running: Running) -> None:
    client = await running.connect()
    queries = [f"{number} " + "x" * 8000 for number in range(20)]
    assert len(json.dumps(queries)) > LARGEST
    for given in (queries, ["x" * 1_100_000]):
        body = json.dumps({"queries": given}).encode()
        client.send(b"POST /retrieve HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert (await client.reply()).found == queries
    assert (await client.reply()).status == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (post("a", more="Content-Length: 3\r\n"), 400),
        (post("a", more="Content-Length: x\r\n"), 400),
        (post("a", path="/other"), 404),
        (b"GET /retrieve HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /retrieve HTTP/1.1\r\nContent-Length: 1\r\n\r\n{", 400),
        (post("a", path="/access"), 422),
        (post("fail"), 500),
        (post("bug"), 500),
    ],
)
async def test_what_can_not_be_answered(running: Running, data: bytes, status: int) -> None:
    client = await running.connect()
    client.send(data)
    assert (await client.reply()).status == status
    other = await running.connect()
    other.send(post("still here"))
    assert (await other.reply()).found == ["still here"]


async def test_access(running: Running) -> None:
    client = await running.connect()
    body = b'{"urls": ["http://a.org/io", "none"]}'
    client.send(b"POST /access HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    io, none = json.loads((await client.reply()).body)["result"]
    assert (io["contents"], none) == ("A moon.", None)


async def test_client_that_leaves_harms_nobody(running: Running) -> None:
    for data in (post("wait"), post("wait")[:-3], b"POST /ret"):
        leaving = await running.connect()
        leaving.send(data)
        await leaving.writer.drain()
        leaving.writer.transport.abort()
    await running.search.asked.wait()
    client = await running.connect()
    client.send(post("here"))
    assert (await client.reply()).found == ["here"]


async def test_client_that_does_not_read_is_not_read_either(running: Running) -> None:
    client = await running.connect()
    queries = [f"{number} " + "x" * 5000 for number in range(3000)]
    sending = asyncio.create_task(client.writer.drain())
    for query in queries:
        client.send(post(query))
    await asyncio.sleep(0.3)
    assert running.search.batcher.keys < len(queries)
    assert [(await client.reply()).found[0] for _ in queries] == queries
    await sending


async def test_silent_connections_are_closed(running: Running) -> None:
    for data in (b"", post("half")[:-2], post("whole")):
        client = await running.connect()
        client.send(data)
        if data == post("whole"):
            assert (await client.reply()).status == 200
        assert await client.closed()


async def test_shutdown_finishes_what_was_asked(running: Running) -> None:
    idle, client = await running.connect(), await running.connect()
    client.send(post("wait") + post("too late"))
    await running.search.asked.wait()
    running.server.should_exit = True
    assert await idle.closed()
    running.search.release.set()
    reply = await client.reply()
    assert (reply.found, reply.headers["connection"]) == (["wait"], "close")
    assert await client.closed()


@pytest.mark.parametrize(
    ("fields", "head"),
    [
        (b"Host: x\r\ncontent-length:7", Head("/retrieve", 7)),
        (b"Connection: Keep-Alive\r\nContent-Length: 7 \r\nX: \xc3\xa9", Head("/retrieve", 7)),
        (b"Host: x", None),
        (b"Content-Length: 7\r\nContent-Length: 7", None),
        (b"Content-Length: +7", None),
        (b"Content-Length: 7, 7", None),
        (b"Content-Length: 7\r\nTransfer-Encoding: chunked", None),
        (b"Content-Length : 7", None),
        (b" Content-Length: 7", None),
        (b"Content-Length: 7\r\n folded", None),
        (b"Content-Length: 7\nX: y", None),
        (b"Content-Length: 7\r\nX: \x00", None),
        (b"Content-Length: 7\r\nUpgrade: h2c", None),
        (b"Content-Length: 7\r\nConnection: close", None),
        (b"Content-Length: 99999999999", None),
    ],
)
def test_only_plain_heads_are_read(fields: bytes, head: Head | None) -> None:
    assert read_head(b"POST /retrieve HTTP/1.1\r\n" + fields) == head


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/1.1", b"POST / HTTP/1.0", b"POST  / HTTP/1.1", b"POST /\xe9 HTTP/1.1", b""],
)
def test_other_first_lines_are_left_to_uvicorn(line: bytes) -> None:
    assert read_head(line + b"\r\nContent-Length: 1") is None
