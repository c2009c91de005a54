"""Random mutations of pages, headers and answers of services: every one ends as it should.

Each response is made from a good one by random changes: bytes flipped, cut off or put in, headers
replaced, doubled or dropped, statuses changed. What comes of it is a result or a `ToolError`, never
another exception; and nothing is cached from a response that failed or was cut short, of which the
script keeps its own account.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import argparse
import asyncio
import gzip
import json
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "wideseek-tools" / "tests"))

from loopback import Reply, Request, Stub

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ToolError
from wideseek_core.progress import ProgressBar, show
from wideseek_tools.backends.jina import JinaConfig
from wideseek_tools.backends.retrieval_server import ServerConfig, ServerPagesConfig
from wideseek_tools.backends.searxng import SearxngConfig
from wideseek_tools.backends.tavily import TavilyConfig
from wideseek_tools.cache import Cache, CachedPages, CachedSearch
from wideseek_tools.config import CacheConfig
from wideseek_tools.fetch.config import FetchConfig
from wideseek_tools.fetch.fetcher import Fetcher
from wideseek_tools.open import open_pages, open_search
from wideseek_tools.urls import page_key

CONCURRENT = 32
HTML = (
    "<!DOCTYPE html><html><head><meta charset='utf-8'><title>Łódź</title></head><body><article>"
    "<h1>Łódź</h1><p>A city in Poland with many words about it, so that there is some text.</p>"
    "<table><tr><th>Name</th><th>Value</th></tr><tr><td>a</td><td>1</td></tr></table>"
    "</article></body></html>"
).encode()
TEXT = ("Łódź is a city in Poland. " * 40).encode()
ANSWERS = {
    "searxng": {"results": [{"url": "http://a.org/1", "title": "T", "content": "C", "score": 1.0}]},
    "tavily": {"results": [{"url": "http://a.org/1", "title": "T", "content": "C", "score": 0.5}]},
    "server": {"result": [[{"document": {"id": "1", "url": "u", "contents": "c"}, "score": 1.0}]]},
}
TYPES = [
    "text/html", "text/html; charset=utf-8", "text/plain", "text/plain; charset=iso-8859-2",
    "text/plain; charset=undefined", "text/html; charset=idna", "application/pdf", "", "html",
    "text/html, text/plain", "text/plain; charset=\"gb2312\"", "application/json",
]  # fmt: skip
ENCODINGS = ["", "gzip", "deflate", "br", "zstd", "identity", "utf-8", "gzip, gzip", "x-gzip", ","]
STATUSES = [200] * 12 + [204, 206, 301, 304, 400, 403, 404, 410, 418, 429, 500, 503]


@dataclass(frozen=True, slots=True)
class Sent:
    """A response and whether its transfer was a good and complete one."""

    reply: Reply
    complete: bool


def packed(body: bytes, encoding: str) -> bytes:
    """A body as its label says."""
    if encoding in ("gzip", "x-gzip"):
        return gzip.compress(body)
    if encoding == "deflate":
        return zlib.compress(body)
    if encoding == "gzip, gzip":
        return gzip.compress(gzip.compress(body))
    return body


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with some flipped, dropped or put in."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(3):
            case 0 if place < len(changed):
                changed[place] = draw.randrange(256)
            case 1:
                del changed[place : place + draw.randint(1, 20)]
            case _:
                changed[place:place] = draw.randbytes(draw.randint(1, 20))
    return bytes(changed)


def response(good: bytes, kind: str, draw: random.Random) -> Sent:
    """A random descendant of a good response."""
    status, encoding = draw.choice(STATUSES), draw.choice(ENCODINGS)
    headers = {"content-type": draw.choice([kind, draw.choice(TYPES)])}
    if encoding:
        headers["content-encoding"] = encoding
    if draw.random() < 0.1:
        headers["retry-after"] = draw.choice(["0", "soon", "-1", "1e9", "Wed, 01 Jan 2020 00:00 X"])
    if draw.random() < 0.1:
        headers["location"] = draw.choice(["/x", "http://[", "file:///etc/passwd", "//10.0.0.1/"])
    body, complete = packed(good, encoding), status == 200
    compressed = encoding in ("gzip", "x-gzip", "deflate", "gzip, gzip")
    match draw.randrange(5):
        case 0:
            body = mutated(body, draw)
            # A checksum protects what is compressed; whatever follows the end is no part of it.
            complete = complete and not compressed
        case 1 if compressed:
            body, complete = body[: draw.randrange(1, len(body))], False
        case 2:
            return Sent(Reply(status, body, headers, short=True), False)
        case 3 if draw.random() < 0.1:
            return Sent(Reply(drop=True), False)
        case _:
            pass
    return Sent(Reply(status, body, headers), complete)


class Fuzz:
    """Sends random responses and keeps account of what comes of them."""

    def __init__(self, stub: Stub, seed: int) -> None:
        self._stub, self._draw = stub, random.Random(seed)
        self._sent: dict[str, Sent] = {}
        self.outcomes: Counter[str] = Counter()
        stub.handler = self._answer

    def _answer(self, request: Request) -> Reply:
        found = re.search("n(?:=|%3[Dd])([0-9]+)", request.target + request.body.decode())
        number = found[1] if found else ""
        if number not in self._sent:
            good, kind = self._good(request)
            self._sent[number] = response(good, kind, self._draw)
        return self._sent[number].reply

    def _good(self, request: Request) -> tuple[bytes, str]:
        for path, name in (("/search?", "searxng"), ("/search", "tavily"), ("/retrieve", "server")):
            if request.target.startswith(path):
                return json.dumps(ANSWERS[name]).encode(), "application/json"
        if request.path == "/access":
            body = {"result": [{"url": "u", "contents": "some text"}]}
            return json.dumps(body).encode(), "application/json"
        return (HTML, "text/html") if self._draw.random() < 0.1 else (TEXT, "text/plain")

    async def ask(self, number: int, call: Callable[[], Awaitable[object]], name: str) -> None:
        """One call; anything but a result and a `ToolError` rises."""
        try:
            await call()
        except ToolError as error:
            self.outcomes[f"{name}: {type(error).__name__}"] += 1
            return
        self.outcomes[f"{name}: a result"] += 1
        sent = self._sent.get(str(number))
        # An own checksum may survive in a mutated tail; what was cut or failed may never pass.
        if sent is not None and sent.reply.status != 200 and not sent.complete:
            raise AssertionError(f"a result from status {sent.reply.status}: {sent}")

    def incomplete(self, number: int) -> bool:
        """Whether the response to a request was cut short, lost or a failure."""
        sent = self._sent.get(str(number))
        return sent is not None and (
            sent.reply.short or sent.reply.drop or sent.reply.status != 200
        )


async def fuzz(count: int, seed: int) -> Counter[str]:
    """Runs `count` requests through every client."""
    limits: dict[str, Any] = {
        "timeout_s": 5.0, "deadline_s": 5.0, "max_attempts": 1, "max_requests_per_s": None,
        "max_bytes": 1_000_000, "max_concurrent": CONCURRENT,
    }  # fmt: skip
    async with Stub() as stub, AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        cache = stack.enter_context(Cache(CacheConfig(path=Path(folder) / "cache.sqlite")))
        fetch = FetchConfig(
            robots=False, ports=(80, 443, stub.port), allowed_hosts=("127.0.0.1",),
            max_per_host=CONCURRENT, **limits,
        )  # fmt: skip
        fetcher = await stack.enter_async_context(Fetcher(fetch))
        searches: list[EndpointConfig] = [
            SearxngConfig(base_url=stub.url, **limits),
            TavilyConfig(base_url=stub.url, api_key_env="", **limits),
            ServerConfig(base_url=stub.url, **limits),
        ]
        backends = [
            CachedSearch(await open_search(config, stack), cache, str(place))
            for place, config in enumerate(searches)
        ]
        readers = [
            await open_pages(JinaConfig(base_url=stub.url, **limits), stack),
            await open_pages(ServerPagesConfig(base_url=stub.url, **limits), stack),
        ]
        pages = [CachedPages(page, cache, str(place)) for place, page in enumerate(readers)]
        pages.append(CachedPages(fetcher, cache, "fetch"))
        state, slots = Fuzz(stub, seed), asyncio.Semaphore(CONCURRENT)
        done = 0

        async def run(number: int) -> None:
            nonlocal done
            async with slots:
                if number % 2:
                    backend = backends[number // 2 % len(backends)]
                    await state.ask(number, lambda: backend.search(f"n={number}", 3), "search")
                else:
                    source = pages[number // 2 % len(pages)]
                    url = f"{stub.url}/page?n={number}"
                    await state.ask(number, lambda: source.read(url), "page")
                done += 1
                bar.advance()

        with ProgressBar("mutations", count) as bar:
            for start in range(0, count, 1000):
                numbers = range(start, min(count, start + 1000))
                await asyncio.gather(*(run(number) for number in numbers))
                await check_cache(pages, state, stub, numbers)
        return state.outcomes


async def check_cache(pages: list[CachedPages], state: Fuzz, stub: Stub, numbers: range) -> None:
    """Nothing may be answered from the cache whose transfer failed: the server is asked again."""
    for number in numbers:
        if number % 2 or not state.incomplete(number):
            continue
        source = pages[number // 2 % len(pages)]
        before = len(stub.requests)
        try:
            await source.read(f"{stub.url}/page?n={number}")
        except ToolError:
            continue
        if len(stub.requests) == before:
            raise AssertionError(f"{number}: a page from the cache whose transfer failed")
    stub.requests.clear()


def fuzz_addresses(count: int, seed: int) -> None:
    """Page keys of random addresses: a key, or a refusal."""
    draw = random.Random(seed)
    parts = [
        "http://",
        "https:",
        "//",
        "a.org",
        ":80",
        "/",
        "%",
        "%2f",
        "?",
        "#",
        "ü",
        "@",
        "[",
        "\0",
    ]
    for _ in range(count):
        text = "".join(draw.choice(parts) for _ in range(draw.randint(0, 12)))
        try:
            key = page_key(text)
        except ToolError:
            continue
        if page_key(key) != key:
            raise AssertionError(f"{text!r}: {key!r} is no normal form")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a thousand")
    given = parser.parse_args()
    count = 1000 if given.quick else given.count
    started = time.monotonic()
    fuzz_addresses(count, given.seed)
    outcomes = asyncio.run(fuzz(count, given.seed))
    for name, number in sorted(outcomes.items()):
        show(f"{name:30}{number:8}")
    show(f"{outcomes.total()} mutations in {time.monotonic() - started:.0f} s, seed {given.seed}")


if __name__ == "__main__":
    main()
