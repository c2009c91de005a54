"""`HttpClient` on real connections, by either library that it sends with."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ServiceError, ServiceFault
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.testing import until, wait_until

OTHER_LIBRARY = {"X-Name": "clé"}
"""Only one of the two libraries sends a header that is not ASCII."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ABORT = b"abort"
"""Breaks the connection off instead of an answer."""
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDK6R7FvI8OusZIcI
OlWp1yr/pjyf4FfK2UautacjyfmhRANCAAQ5knwYJf4ALi597ZS+aYA7FNHhZv2i
WakAY3j3+QaSwZqaR3Y2MT9SPi5Cp4yjjRAleYjMNQPiFtv222Z9oiyk
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUAntwGNRxCAVhG2F3hzjPglZHNEowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjEyMTM1MVoYDzIxMjUwNjIw
MTIxMzUxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ5knwYJf4ALi597ZS+aYA7FNHhZv2iWakAY3j3+QaSwZqaR3Y2MT9S
Pi5Cp4yjjRAleYjMNQPiFtv222Z9oiyko2kwZzAdBgNVHQ4EFgQU9kcqD4LrLHjs
jf/Tgvw8HhZf57gwHwYDVR0jBBgwFoAU9kcqD4LrLHjsjf/Tgvw8HhZf57gwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgPdf44n5PXSkR37h2sXzNfGAMaUxTYbRHTc6GIZE7oDQCIHeMZvNcl+CS
MnFl35iRi8FahYKb87khO1pE2Ld1NCEM
-----END CERTIFICATE-----
"""
"""Of localhost, signed by itself, with its key; nothing but these tests trusts it."""


@dataclass(kw_only=True)
class Wire:
    """One connection, on the side of the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """The next request as it was sent; empty at the end of the connection."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head + await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass(kw_only=True)
class Server:
    """Serves connections; `requests` are the bytes of each."""

    url: str = ""
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    requests: list[bytes] = field(default_factory=list[bytes])
    ended: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def serving(
    *answers: bytes, close: bool = False, context: ssl.SSLContext | None = None
) -> AsyncGenerator[Server]:
    """A server that gives answers in turn, the last one for ever; an empty one never comes.

    It closes connections after an answer if `close`, without saying so in the answer.
    """
    server = Server()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader=reader, writer=writer)
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        server.tasks.add(task)
        server.writers.add(writer)
        try:
            while True:
                server.requests.append(await wire.request())
                answer = answers[min(len(server.requests), len(answers)) - 1]
                if answer == ABORT:
                    writer.transport.abort()
                    break
                if not answer:
                    await reader.read()
                    break
                await wire.send(answer)
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            server.ended.append("closed")

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*server.tasks)


@pytest.fixture(params=["direct", "other"])
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    """Headers that choose the library."""
    return OTHER_LIBRARY if request.param == "other" else {}


def client(server: Server, headers: dict[str, str], **given: Any) -> HttpClient:
    usual: dict[str, Any] = {"base_url": server.url, "backoff_s": 0.0, "max_concurrent": 1}
    config = EndpointConfig(**(usual | given))
    return HttpClient("Service", config, headers=headers)


async def test_requests_share_a_connection(headers: dict[str, str]) -> None:
    async with serving(OK) as server:
        async with client(server, headers) as http:
            for _ in range(3):
                assert await http.post_json("/x", {"q": "é"}) == {}
                assert await http.get_json("/y") == {}
        assert (server.connections, len(server.requests)) == (1, 6)
        await until(lambda: server.ended == ["closed"])


async def test_a_request_as_it_is_sent(headers: dict[str, str]) -> None:
    async with serving(OK) as server, client(server, headers) as http:
        content = {"Content-Type": "application/json"}
        await http.request("POST", "/a b/é%2F%7e?q=%2B+|", content=b"[1]", headers=content)
        await http.request("POST", "/empty")
    first, second = server.requests
    assert first.startswith(b"POST /a%20b/%C3%A9%2F%7e?q=%2B+| HTTP/1.1\r\n")
    assert first.endswith(b"\r\n\r\n[1]")
    lines = [line.lower() for line in first.split(b"\r\n")]
    assert lines.count(b"content-type: application/json") == 1
    assert lines.count(b"accept-encoding: gzip, deflate") == 1
    assert b"content-length: 0\r\n" in second.lower()
    assert b"content-type" not in second.lower()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/\x00"), ("GET", "/" + "x" * 70_000), ("GE T", "/x")]
)
async def test_what_is_not_http_is_not_sent(
    method: str, path: str, headers: dict[str, str]
) -> None:
    async with serving(OK) as server, client(server, headers) as http:
        with pytest.raises(ServiceError, match="can't be sent") as caught:
            await http.request(method, path)
        assert (caught.value.kind, caught.value.attempts) == (ServiceFault.REFUSED, 1)
        await http.get_json("/half\ud83d")
    assert [sent.split(b" ")[1] for sent in server.requests] == [b"/half%EF%BF%BD"]


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".invalid"])
async def test_a_name_that_no_host_has(host: str, headers: dict[str, str]) -> None:
    server = Server(url=f"http://{host}")
    async with client(server, headers, max_attempts=1) as http:
        with pytest.raises(ServiceError, match="can't be reached") as caught:
            await http.get_json("/x")
    assert caught.value.kind is ServiceFault.CONNECT


async def test_bytes_of_headers_are_latin_1() -> None:
    async with serving(OK) as server:
        async with client(server, OTHER_LIBRARY) as http:
            await http.get_json("/x")
        async with client(server, {}) as http:
            await http.get_json("/x", headers={"X-Name": "clé"})
            await http.get_json("/x", headers={"X-Name": "key"})
    assert [b"X-Name: cl\xe9\r\n" in sent for sent in server.requests] == [True, True, False]
    assert b"X-Name: key\r\n" in server.requests[2]


async def test_credentials_take_the_place_of_the_key(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_KEY", "sk-1234567890")
    async with serving(OK) as server:
        url = server.url.replace("//", "//me:pass%20word@")
        async with client(server, headers, base_url=url, api_key_env="SERVICE_KEY") as http:
            await http.get_json("/x")
    assert b"authorization: basic bwu6cgfzcyb3b3jk\r\n" in server.requests[0].lower()
    assert b"sk-1234567890" not in server.requests[0]


async def test_no_cookies_are_kept(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b{}=1\r\n\r\n")
    async with serving(answer) as server, client(server, headers) as http:
        for _ in range(2):
            await http.request("GET", "/x")
    assert b"cookie" not in server.requests[1].lower()
    assert not caplog.text


async def test_headers_of_one_name_are_joined(headers: dict[str, str]) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nX-A: caf\xc3\xa9\r\nx-a: caf\xe9\r\n\r\n")
    async with serving(answer) as server, client(server, headers) as http:
        response = await http.request("GET", "/x")
    assert response.headers["x-a"].startswith("caf")
    assert response.headers["x-a"].isprintable()
    assert ", " in response.headers["x-a"]


async def test_a_large_request_arrives_whole(headers: dict[str, str]) -> None:
    body = b"x" * 3_000_000
    async with serving(OK) as server, client(server, headers) as http:
        await http.request("POST", "/x", content=body)
        await http.request("POST", "/x", content=body)
    assert all(sent.endswith(b"\r\n\r\n" + body) for sent in server.requests)
    assert (server.connections, len(server.requests)) == (1, 2)


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n", more: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\n" + more + b"Transfer-Encoding: chunked\r\n\r\n" + body + end


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b'{"a"', b": 1}"),
        chunked(gzip.compress(b'{"a": 1}', mtime=0), more=b"Content-Encoding: gzip\r\n"),
        chunked(b'{"a": 1}', end=b"0\r\nX-Trailer: 1\r\n\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + chunked(b'{"a": 1}'),
        b"HTTP/1.1 200 \r\nContent-Length: 8\r\nX-Long: " + b"x" * 30_000 + b'\r\n\r\n{"a": 1}',
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b'Content-Length: 8\r\n\r\n{"a": 1}',
    ],
)
async def test_answers_on_a_connection_that_stays(answer: bytes, headers: dict[str, str]) -> None:
    async with serving(answer) as server, client(server, headers) as http:
        for _ in range(2):
            assert await http.post_json("/x", {}) == {"a": 1}
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b'{"a": 1}', more=b"Content-Length: 3\r\n"),
        b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\nContent-Length: 8\r\n\r\n{"a": 1}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 8, 8\r\n\r\n{"a": 1}',
    ],
)
async def test_lengths_that_are_told_twice(answer: bytes, headers: dict[str, str]) -> None:
    async with serving(answer) as server, client(server, headers, max_attempts=2) as http:
        for _ in range(2):
            assert await http.post_json("/x", {}) == {"a": 1}
        assert await http.post_json("/x", {}, idempotent=False) == {"a": 1}


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
        b"1",
    ],
)
async def test_an_answer_that_came_before_the_request_is_not_its_own(
    unasked: bytes, headers: dict[str, str]
) -> None:
    async with serving(OK) as server, client(server, headers) as http:
        await http.request("GET", "/x")
        for writer in server.writers:
            writer.write(unasked)
        for _ in range(2):
            assert await http.post_json("/x", {}, idempotent=False) == {}
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_an_answer_that_ends_with_its_connection(headers: dict[str, str]) -> None:
    answer = b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}'
    async with serving(answer, close=True) as server, client(server, headers) as http:
        for _ in range(2):
            assert await http.post_json("/x", {}, idempotent=False) == {"a": 1}
    assert server.connections == 2


@pytest.mark.parametrize("line", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"])
async def test_an_answer_that_is_cut_off_with_its_connection(
    line: bytes, headers: dict[str, str]
) -> None:
    server_of = serving(line + b"\r\n\r\n{}")
    async with server_of as server, client(server, headers, max_attempts=1) as http:
        asked = asyncio.create_task(http.get_text("/x"))
        await until(lambda: len(server.requests) == 1)
        await asyncio.sleep(0.05)  # what was sent before a reset may be dropped if it comes at once
        for writer in server.writers:
            no_rest = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_rest)
            writer.transport.abort()
        with pytest.raises(ServiceError, match="broke off") as caught:
            await asked
    assert caught.value.kind is ServiceFault.CONNECT


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_the_service_has_closed_is_not_used(
    method: str, headers: dict[str, str]
) -> None:
    async with serving(OK, close=True) as server, client(server, headers) as http:
        for number in range(20):
            await http.request(method, "/x", idempotent=False)
            await until(lambda number=number: len(server.ended) == number + 1)
    assert server.connections == 20


async def test_a_connection_closed_while_this_thread_was_busy_is_not_used(
    headers: dict[str, str],
) -> None:
    servers: list[Server] = []
    done = threading.Event()

    async def serve() -> None:
        async with serving(OK, close=True) as server:
            servers.append(server)
            await until(done.is_set)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        wait_until(lambda: bool(servers))
        async with client(servers[0], headers) as http:
            for number in range(3):
                await http.request("POST", "/x", idempotent=False)
                wait_until(lambda number=number: len(servers[0].ended) == number + 1)
    finally:
        done.set()
        thread.join()


async def test_only_a_trusted_certificate_is_accepted(
    headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.pem"
    file.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    async with serving(OK, context=context) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        async with client(server, headers, base_url=url) as http:
            with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await http.post_json("/x", {})
        assert (caught.value.kind, caught.value.attempts) == (ServiceFault.CONNECT, 1)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        async with client(server, headers, base_url=url) as http:
            for _ in range(2):
                assert await http.post_json("/x", {}) == {}
        other = url.replace("localhost", "127.0.0.1")
        async with client(server, headers, base_url=other, max_attempts=1) as http:
            with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
                await http.post_json("/x", {})
    assert len(server.requests) == 2


BROKEN = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
    chunked(b"{", end=b""),
    chunked(b"{", end=b"zz\r\n"),
    chunked(gzip.compress(b"{}", mtime=0)[:-4], more=b"Content-Encoding: gzip\r\n"),
    b"HTTP/1.1 200 OK\r\nSet-Cookie: very-secret-1\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nBad Header\x00: 1\r\n\r\n{}",
    b"no HTTP at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000 + b"\r\n{}",
]


@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_broken_answer_is_asked_for_as_often_as_allowed(
    answer: bytes, method: str, headers: dict[str, str]
) -> None:
    async with serving(answer, close=True) as server:
        async with client(server, headers, max_attempts=2) as http:
            with pytest.raises(ServiceError, match="Service: ") as caught:
                await http.request(method, "/x?token=very-secret-1")
        fault = caught.value
        assert (fault.kind, fault.attempts) == (ServiceFault.CONNECT, 2)
        assert len(server.requests) == 2
        assert "very-secret" not in str(fault)
        assert "<" not in str(fault)
        assert str(fault).isprintable()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_with_effects_is_sent_once(method: str, headers: dict[str, str]) -> None:
    async with serving(OK, b"HTTP/1.1 200", close=True) as server, client(server, headers) as http:
        await http.request(method, "/x", idempotent=False)
        with pytest.raises(ServiceError, match="broke off"):
            await http.request(method, "/x", idempotent=False)
    assert len(server.requests) == 2


async def test_a_request_that_is_broken_off_on_a_used_connection_is_sent_once(
    headers: dict[str, str],
) -> None:
    async with serving(OK, ABORT) as server, client(server, headers) as http:
        await http.request("GET", "/x", idempotent=False)
        with pytest.raises(ServiceError, match="broke off"):
            await http.request("GET", "/x", idempotent=False)
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("chars", [10, 30_000_000])
async def test_a_request_that_is_broken_off_while_it_is_written(
    chars: int, headers: dict[str, str]
) -> None:
    heads: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server = Server(url=f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    async with listening, client(server, headers, max_attempts=2) as http:
        with pytest.raises(ServiceError, match=r"broke off \([^/]+\)") as caught:
            await http.request("POST", "/x?token=very-secret-1", content=b"x" * chars)
    assert (caught.value.kind, caught.value.attempts, len(heads)) == (ServiceFault.CONNECT, 2, 2)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"206 Partial Content\r\nContent-Range: bytes 0-1/9", ServiceFault.STATUS),
        (b"302 Found\r\nLocation: http://127.0.0.1:9/", ServiceFault.STATUS),
        (b"307 Temporary Redirect\r\nLocation: /y", ServiceFault.STATUS),
        (b"404 Not Found", ServiceFault.REFUSED),
        (b"499 Gone", ServiceFault.REFUSED),
        (b"599 Odd", ServiceFault.STATUS),
    ],
)
async def test_statuses_are_final(line: bytes, kind: ServiceFault, headers: dict[str, str]) -> None:
    answer = OK.replace(b"200 OK", line)
    async with serving(answer) as server, client(server, headers) as http:
        for _ in range(2):
            with pytest.raises(ServiceError, match=line[:3].decode()) as caught:
                await http.post_json("/x", {})
            assert (caught.value.kind, caught.value.status) == (kind, int(line[:3]))
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    ("line", "kind", "attempts"),
    [
        (b"401 Unauthorized", ServiceFault.REFUSED, 1),
        (b"404 Not Found", ServiceFault.REFUSED, 1),
        (b"500 Oops", ServiceFault.STATUS, 2),
    ],
)
@pytest.mark.parametrize("rest", [b"Content-Length: 9\r\n\r\nx", chunked(b"x", end=b"")[17:]])
async def test_a_status_counts_without_the_rest_of_its_text(
    line: bytes, kind: ServiceFault, attempts: int, rest: bytes, headers: dict[str, str]
) -> None:
    answer = b"HTTP/1.1 " + line + b"\r\n" + rest
    server_of = serving(answer, close=True)
    async with server_of as server, client(server, headers, max_attempts=2) as http:
        with pytest.raises(ServiceError, match=line[:3].decode()) as caught:
            await http.post_json("/x", {})
    fault = caught.value
    assert (fault.kind, fault.status, fault.attempts) == (kind, int(line[:3]), attempts)


@pytest.mark.parametrize("content", [b" " * 5000 + b"{}", gzip.compress(b" " * 5000, mtime=0)])
async def test_an_answer_is_bounded(content: bytes, headers: dict[str, str]) -> None:
    more = b"Content-Encoding: gzip\r\n" if content[:2] == b"\x1f\x8b" else b""
    server_of = serving(chunked(content, more=more))
    async with server_of as server, client(server, headers, max_bytes=1000) as http:
        with pytest.raises(ServiceError, match="larger than 1000 bytes") as caught:
            await http.get_json("/x")
    assert caught.value.kind is ServiceFault.TOO_LARGE


async def test_an_endless_answer_ends_at_its_bound(headers: dict[str, str]) -> None:
    server_of = serving(chunked(b"x" * 5000, end=b""))
    async with server_of as server, client(server, headers, max_bytes=1000) as http:
        with pytest.raises(ServiceError, match="larger than 1000 bytes"):
            await http.get_json("/x")
        await until(lambda: server.ended == ["closed"])


async def test_a_status_whose_text_never_ends_in_time_is_a_timeout(headers: dict[str, str]) -> None:
    answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nx"
    limits: dict[str, Any] = {"timeout_s": 0.2, "max_attempts": 1}
    async with serving(answer) as server, client(server, headers, **limits) as http:
        with pytest.raises(ServiceError, match="no answer within") as caught:
            await http.get_json("/x")
        assert caught.value.kind is ServiceFault.TIMEOUT
        await until(lambda: server.ended == ["closed"])


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_a_cancelled_request_closes_its_connection(
    answer: bytes, headers: dict[str, str]
) -> None:
    async with serving(answer) as server, client(server, headers) as http:
        asked = asyncio.create_task(http.post_json("/x", {}))
        await until(lambda: len(server.requests) == 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await until(lambda: server.ended == ["closed"])


async def test_requests_of_a_client_that_is_closed(headers: dict[str, str]) -> None:
    async with serving(b"") as server:
        async with client(server, headers, max_attempts=3) as http:
            asked = [asyncio.create_task(http.post_json("/x", {})) for _ in range(3)]
            await until(lambda: len(server.requests) == 1)
        asked.append(asyncio.create_task(http.get_json("/x")))
        for problem in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(problem, ServiceError)
            assert problem.kind is ServiceFault.CONNECT
            assert str(problem).startswith("Service: the client was closed")
        assert len(server.requests) == 1
        await until(lambda: server.ended == ["closed"])


async def test_a_client_is_opened_once(headers: dict[str, str]) -> None:
    async with serving(OK) as server:
        async with client(server, headers) as http:
            with pytest.raises(AssertionError, match="opened once"):
                await http.__aenter__()
            assert await http.get_json("/x") == {}
        with pytest.raises(AssertionError, match="opened once"):
            await http.__aenter__()
    assert server.connections == 1


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "localhost"])
async def test_spellings_of_an_address(host: str, headers: dict[str, str]) -> None:
    async with serving(OK) as server:
        url = server.url.replace("127.0.0.1", host)
        async with client(server, headers, base_url=url, max_attempts=1) as http:
            assert await http.post_json("/x", {}, idempotent=False) == {}


async def test_a_service_that_is_not_there(headers: dict[str, str]) -> None:
    async with serving(OK) as server:
        pass
    async with client(server, headers, max_attempts=2) as http:
        with pytest.raises(ServiceError, match=r"can't be reached: .") as caught:
            await http.post_json("/x", {}, idempotent=False)
    assert "127.0.0.1" not in str(caught.value)
    assert (caught.value.kind, caught.value.attempts) == (ServiceFault.CONNECT, 2)
