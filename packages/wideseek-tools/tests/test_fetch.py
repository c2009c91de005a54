import asyncio
import gzip
import zlib
from typing import Any

import pytest
from loopback import Reply, Request, Stub, page

from wideseek_core.errors import NoContent, ToolError, ToolRefused, ToolUnavailable
from wideseek_core.testing import until
from wideseek_tools.fetch.address import checked_url, is_public, public_addresses
from wideseek_tools.fetch.config import FetchConfig
from wideseek_tools.fetch.fetcher import Fetcher

PATIENT: dict[str, Any] = {
    "timeout_s": 300.0,
    "deadline_s": 300.0,
    "max_attempts": 1,
    "max_bytes": 100_000,
    "max_requests_per_s": None,
}
ARTICLE = (
    "<html><head><title>Io</title></head><body><article><h1>Io</h1>"
    "<p>Io is the innermost of the large moons of Jupiter, and the one with volcanoes.</p>"
    "<table><tr><th>Name</th><th>Radius</th></tr><tr><td>Io</td><td>1821 km</td></tr></table>"
    "</article></body></html>"
)


def config(stub: Stub, **update: object) -> FetchConfig:
    plain = FetchConfig(
        ports=(80, 443, stub.port),
        allowed_hosts=("127.0.0.1",),
        robots=False,
        connect_timeout_s=300.0,
        extract_timeout_s=300.0,
        extract_processes=1,
        **PATIENT,
    )
    return plain.model_copy(update=update)


async def read(stub: Stub, path: str = "/page", **update: object) -> str:
    async with Fetcher(config(stub, **update)) as fetcher:
        return (await fetcher.read(stub.url + path)).text


async def test_page_is_fetched_and_extracted(stub: Stub) -> None:
    stub.answers([page(ARTICLE)])
    async with Fetcher(config(stub)) as fetcher:
        found = await fetcher.read(f"{stub.url}/io#volcanoes")
    assert found.title == "Io"
    assert "volcanoes" in found.text
    assert "| Io | 1821 km |" in found.text
    assert (found.url, found.source) == (f"{stub.url}/io", "fetch")
    (request,) = stub.requests
    assert request.headers["host"] == f"127.0.0.1:{stub.port}"
    assert "cookie" not in request.headers


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
async def test_packed_page_is_unpacked(stub: Stub, packed: str) -> None:
    body = gzip.compress(b"plain words") if packed == "gzip" else zlib.compress(b"plain words")
    stub.answers([Reply(200, body, {"content-type": "text/plain", "content-encoding": packed})])
    assert await read(stub) == "plain words"


async def test_text_in_its_own_charset(stub: Stub) -> None:
    kind = {"content-type": "text/plain; charset=latin-1"}
    stub.answers([Reply(200, "café".encode("latin-1"), kind)])
    assert await read(stub) == "café"


async def test_redirects_are_followed_up_to_a_limit(stub: Stub) -> None:
    def handler(request: Request) -> Reply:
        number = int(request.path.strip("/"))
        if number == 0:
            return page("there", "text/plain")
        return Reply(302, b"", {"location": f"/{number - 1}", "set-cookie": "a=b"})

    stub.handler = handler
    assert await read(stub, "/2", max_redirects=2) == "there"
    assert all("cookie" not in request.headers for request in stub.requests)
    with pytest.raises(ToolRefused, match="more than 2 redirects"):
        await read(stub, "/3", max_redirects=2)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "ftp://a.org/",
        "http://user:pass@127.0.0.1/",
        "//0x7f.1/",
        "http://127.0.0.1:22/",
    ],
)
async def test_redirect_to_a_private_place_is_refused(stub: Stub, target: str) -> None:
    stub.answers([Reply(302, b"", {"location": target})])
    with pytest.raises(ToolRefused):
        await read(stub)
    assert len(stub.requests) == 1


async def test_name_that_changes_its_answer_gains_nothing(stub: Stub) -> None:
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    settings = config(stub, allowed_hosts=(), connect_s=0.05)
    settings = settings.model_copy(update={"timeout_s": 0.2})
    async with Fetcher(settings, resolver) as fetcher:
        url = f"http://changing.example:{stub.port}/"
        with pytest.raises(ToolUnavailable):  # the checked number is connected to, not the name
            await fetcher.read(url)
        assert asked == ["changing.example"]
        with pytest.raises(ToolRefused, match="not on the open internet"):
            await fetcher.read(url)
    assert stub.requests == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.7"]

    with pytest.raises(ToolRefused):
        await public_addresses("a.org", 80, resolver, private=False)


async def test_gzip_bomb_stops_at_the_limit(stub: Stub) -> None:
    body = gzip.compress(b"\0" * 50_000_000)
    kind = {"content-type": "text/html", "content-encoding": "gzip"}
    stub.answers([Reply(200, body, kind)])
    with pytest.raises(ToolRefused, match="larger than 100000 bytes"):
        await read(stub)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(200, b"x" * 65536, {"content-type": "text/html"}, endless=True), ToolRefused),
        (page("x" * 200_000), ToolRefused),
        (page("%PDF", "application/pdf"), ToolRefused),
        (page("x", "image/png"), ToolRefused),
        (Reply(200, b"\x89PNG\r\n\x1a\n\0\0"), ToolRefused),
        (page("x", **{"content-encoding": "br"}), ToolRefused),
        (page("x", **{"content-encoding": "gzip, gzip"}), ToolUnavailable),
        (page("not packed", **{"content-encoding": "gzip"}), ToolUnavailable),
        (Reply(404), NoContent),
        (Reply(500), ToolUnavailable),
        (Reply(403), ToolUnavailable),
        (Reply(302, b"", {"location": "http://["}), ToolRefused),
        (Reply(drop=True), ToolUnavailable),
        (page("  ", "text/plain"), NoContent),
        (page("<html><body></body></html>"), NoContent),
        (Reply(200, b"x", {"x": "y" * 300_000, "content-type": "text/html"}), ToolUnavailable),
    ],
)
async def test_bad_page_is_refused(stub: Stub, answer: Reply, error: type[ToolError]) -> None:
    stub.answers([answer])
    with pytest.raises(error):
        await read(stub)


@pytest.mark.parametrize(("delay_s", "drip_s"), [(0.0, 0.05), (3600.0, 0.0)])
async def test_a_page_that_takes_too_long_is_given_up(
    stub: Stub, delay_s: float, drip_s: float
) -> None:
    kind = {"content-type": "text/html"}
    stub.answers([Reply(200, b"x" * 1000, kind, delay_s=delay_s, drip_s=drip_s)])
    with pytest.raises(ToolUnavailable, match="no answer within"):
        await read(stub, timeout_s=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "gopher://a.org",
        "http://user@a.org/",
        "http://user:pass@a.org/",
        "http:///nowhere",
        "http://a.org\\@b.org/",
        "http://a.org /x",
        "http://a.org/\r\nHost: b.org",
        "http://a.org:22/",
        "http://a.org:6379/",
        "http://[::1",
        "http://" + "a" * 5000,
    ],
)
def test_url_is_refused_before_any_connection(url: str) -> None:
    with pytest.raises(ToolRefused):
        checked_url(url, (80, 443))


def test_plain_name_is_read_over_https() -> None:
    assert str(checked_url("a.org/x#y")) == "https://a.org/x"


HOSTILE = [
    f"http://{host}/"
    for host in (
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "0",
        "0.0.0.0",
        "localhost",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[fec0::1]",
    )
]
"""URLs of private, link-local, multicast and reserved addresses, in every notation."""


@pytest.mark.parametrize("url", HOSTILE)
async def test_private_host_is_refused(url: str) -> None:
    async with Fetcher(FetchConfig(robots=False, **PATIENT)) as fetcher:
        with pytest.raises(ToolError, match=r"open internet|no address|not a URL"):
            await fetcher.read(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("2001:1::1", False),
        ("3fff::1", False),
        ("::1234:1", False),
        ("4000::1", False),
        ("::7f00:1", False),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("example", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_robots_txt_is_asked_once_and_obeyed(stub: Stub) -> None:
    rules = page("User-agent: *\nDisallow: /private\n", "text/plain")
    stub.handler = lambda request: (
        rules if request.path == "/robots.txt" else page("x", "text/plain")
    )
    async with Fetcher(config(stub, robots=True)) as fetcher:
        assert (await fetcher.read(f"{stub.url}/open")).text == "x"
        with pytest.raises(ToolRefused, match=r"robots\.txt"):
            await fetcher.read(f"{stub.url}/private/x")
    assert [request.path for request in stub.requests] == ["/robots.txt", "/open"]


@pytest.mark.parametrize(("status", "allowed"), [(404, True), (500, False)])
async def test_missing_robots_txt_allows_and_a_failing_one_does_not(
    stub: Stub, status: int, allowed: bool
) -> None:
    stub.handler = lambda request: (
        Reply(status) if request.path == "/robots.txt" else page("x", "text/plain")
    )
    if allowed:
        assert await read(stub, robots=True) == "x"
    else:
        with pytest.raises(ToolUnavailable):
            await read(stub, robots=True)


async def test_one_host_gets_few_requests_at_once(stub: Stub) -> None:
    stub.answers([Reply(200, b"x", {"content-type": "text/plain"})])
    stub.gate = asyncio.Event()
    answered = peak = 0
    async with Fetcher(config(stub, max_per_host=2)) as fetcher:

        async def call(number: int) -> None:
            nonlocal answered, peak
            await fetcher.read(f"{stub.url}/{number}")
            peak = max(peak, len(stub.requests) - answered)
            answered += 1

        calls = asyncio.gather(*(call(number) for number in range(6)))
        await until(lambda: len(stub.requests) == 2)
        stub.gate.set()
        await calls
    assert (answered, peak) == (6, 2)


async def test_extraction_that_takes_too_long_is_given_up(stub: Stub) -> None:
    stub.answers([page(ARTICLE)])
    with pytest.raises(ToolUnavailable, match="extract"):
        await read(stub, extract_timeout_s=1e-6)
