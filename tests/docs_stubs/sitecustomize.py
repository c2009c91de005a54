"""Lets the examples of the documentation run without the internet and without keys.

Python imports this module at start because its folder is on the path. Requests that httpx2 or
aiohttp would send to another machine are answered here, as the service would. Loopback stays as it
is.
"""

import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2

PAGE = "<html><title>Triton</title><body><p>Triton circles Neptune. It is 1353 km wide.</p></body>"
FOUND = {"title": "Triton", "link": "https://example.com/triton", "snippet": "A moon of Neptune."}
HIT = {"title": "Triton", "url": FOUND["link"], "text": FOUND["snippet"]}
ANSWERS: dict[str, object] = {
    "search.example.org": {"hits": [HIT]},
    "google.serper.dev": {"organic": [FOUND]},
    "api.search.brave.com": {
        "web": {
            "results": [{"title": "Triton", "url": FOUND["link"], "description": FOUND["snippet"]}]
        }
    },
    "api.tavily.com": {
        "results": [{"title": "Triton", "url": FOUND["link"], "content": FOUND["snippet"]}]
    },
}

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_send = httpx2.AsyncHTTPTransport.handle_async_request
_request = aiohttp.ClientSession.request


def _answer_to(request: httpx2.Request) -> httpx2.Response:
    host = urlsplit(str(request.url)).hostname or ""
    if host in ANSWERS:
        return httpx2.Response(200, content=json.dumps(ANSWERS[host]).encode(), request=request)
    if request.url.path == "/robots.txt":
        return httpx2.Response(404, request=request)
    headers = {"content-type": "text/html; charset=utf-8"}
    return httpx2.Response(200, content=PAGE.encode(), headers=headers, request=request)


async def _answer(self: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
    if (urlsplit(str(request.url)).hostname or "") in LOOPBACK:
        return await _send(self, request)
    return _answer_to(request)


class _Answer:
    """What is used of a response of aiohttp."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status, self.raw_headers = response.status_code, tuple(response.headers.raw)
        self.content, self._body = self, response.content

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body

    def release(self) -> None:
        """Nothing is open."""

    close = release


async def _aiohttp_answer(
    self: aiohttp.ClientSession, method: str, address: Any, **given: Any
) -> Any:
    if (urlsplit(str(address)).hostname or "") in LOOPBACK:
        return await _request(self, method, address, **given)
    return _Answer(_answer_to(httpx2.Request(method, str(address))))


httpx2.AsyncHTTPTransport.handle_async_request = _answer
aiohttp.ClientSession.request = _aiohttp_answer  # pyright: ignore[reportAttributeAccessIssue]

_look_up = socket.getaddrinfo


def _addresses(host: Any, port: Any, *others: Any, **named: Any) -> Any:
    """A public address for the host of the examples, which is never connected to."""
    if host in ("example.com", b"example.com"):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", int(port or 0)))]
    return _look_up(host, port, *others, **named)


socket.getaddrinfo = _addresses
