"""One address for a server that moves."""

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import pytest

from wideseek_core.testing import until
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_rl.engines.control.relay import open_relay


async def echo(request: Request) -> Response:
    return Response(body=request.body)


async def silence(_: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def answer(url: str, body: bytes) -> bytes:
    """The body of the answer to one request; empty if the connection ends before it."""
    reader, writer = await asyncio.open_connection(*address(url))
    try:
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    finally:
        writer.close()


async def test_a_server_is_reached_where_it_is_at_present() -> None:
    async with open_relay() as relay, HttpServer(echo) as first, HttpServer(echo) as second:
        assert await answer(relay.url, b"early") == b""
        await relay.ready(first.url)
        long = bytes(300_000)
        assert await asyncio.gather(*(answer(relay.url, one) for one in (b"a", long))) == [
            b"a",
            long,
        ]
        await relay.lost(first.url, "killed")
        assert await answer(relay.url, b"between") == b""
        await relay.ready(second.url)
        assert await answer(relay.url, b"later") == b"later"
        assert (len(first.requests), len(second.requests)) == (2, 1)
        await second.kill()
        assert await answer(relay.url, b"unexpected") == b""


async def test_what_a_lost_server_was_asked_is_not_waited_for() -> None:
    async with open_relay() as relay, HttpServer(silence) as server:
        await relay.ready(server.url)
        asked = asyncio.create_task(answer(relay.url, b"question"))
        await until(lambda: len(server.requests) == 1)
        await relay.lost(server.url, "its host does not answer")
        assert await asked == b""


async def test_the_end_of_a_relay_ends_its_connections() -> None:
    async with HttpServer(silence) as server:
        async with open_relay() as relay:
            await relay.ready(server.url)
            asked = asyncio.create_task(answer(relay.url, b"question"))
            await until(lambda: len(server.requests) == 1)
        assert await asked == b""


@pytest.mark.parametrize("end", ["the server is lost", "the relay ends"])
async def test_what_a_server_does_not_take_holds_nothing_up(end: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # its system takes what fits in its buffer
        async with open_relay() as relay:
            await relay.ready(f"http://127.0.0.1:{deaf.getsockname()[1]}")
            reader, writer = await asyncio.open_connection(*address(relay.url))
            writer.write(bytes(2**25))
            left = [writer.transport.get_write_buffer_size()]
            while len(left) < 5 or left[-1] != left[-5]:
                await asyncio.sleep(0.02)
                left.append(writer.transport.get_write_buffer_size())
            if end == "the server is lost":
                await relay.lost("", "its host does not answer")
                await closed(reader)
        await closed(reader)
        writer.close()


async def closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0
