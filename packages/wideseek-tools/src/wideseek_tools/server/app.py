"""The server's routes.

`/retrieve` and `/access` carry nearly all requests, and a framework's routing and validation cost
several times what a BM25 search does: they are answered before the framework sees them. It keeps
the rest, and describes all routes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Response

from wideseek_core.errors import NoContent, ToolError, ToolRefused
from wideseek_tools.batching import Batcher, QueueFull
from wideseek_tools.passages import Passage
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.metrics import Metrics
from wideseek_tools.server.requests import (
    BadRequest,
    openapi_body,
    parse_access,
    parse_retrieve,
    result,
)
from wideseek_tools.store import PageStore

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER_S = 1
_JSON = (b"content-type", b"application/json")


class Retriever(Protocol):
    """A search that gives whole passages, in batches."""

    batcher: Batcher[tuple[str, int], list[Passage]]

    async def passages(self, query: str, k: int) -> list[Passage]:
        """At most `k` passages, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON response."""

    status: int
    body: bytes
    retry_after_s: int = 0


class Routes:
    """The answers to requests, for one search and one page store."""

    def __init__(self, search: Retriever, pages: PageStore, config: ServeConfig) -> None:
        self._search, self._pages, self._config = search, pages, config
        self.metrics = Metrics(search.batcher)
        self.hot: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            "/retrieve": self._retrieve,
            "/access": self._access,
        }

    async def answer(self, path: str, receive: Receive) -> Answer:
        """The answer to a `POST` on one of the hot paths."""
        started = time.monotonic()
        try:
            found = Answer(200, await self.hot[path](await self._body(receive)))
        except BadRequest as error:
            found = _problem(error.status, str(error))
        except QueueFull as error:
            found = Answer(503, _problem(503, str(error)).body, RETRY_AFTER_S)
        except ToolError as error:
            found = _problem(500, str(error))
        self.metrics.seen(path[1:], found.status, time.monotonic() - started)
        return found

    async def _retrieve(self, body: bytes) -> bytes:
        asked = parse_retrieve(body, self._config)
        batcher = self._search.batcher
        if batcher.waiting and batcher.waiting + len(asked.queries) > self._config.max_waiting:
            raise QueueFull("too many queries are waiting")
        if len(asked.queries) == 1:
            found = [await self._search.passages(asked.queries[0], asked.topk)]
        else:
            searches = [self._search.passages(query, asked.topk) for query in asked.queries]
            found = list(await asyncio.gather(*searches))
        return result(found, asked.scores)

    async def _access(self, body: bytes) -> bytes:
        urls = parse_access(body, self._config)
        rows = await asyncio.to_thread(lambda: [self._page(url) for url in urls])
        return orjson.dumps({"result": rows})

    def _page(self, url: str) -> dict[str, str] | None:
        try:
            page = self._pages.lookup(url)
        except (NoContent, ToolRefused):
            return None
        return {"url": page.url, "contents": page.text, "title": page.title}

    async def _body(self, receive: Receive) -> bytes:
        limit = self._config.max_body_bytes
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest(400, "the client left")
            body += message.get("body", b"")
            if len(body) > limit:
                raise BadRequest(413, f"the body is larger than {limit} bytes")
            if not message.get("more_body", False):
                return body


def make_app(routes: Routes, about: dict[str, str | int]) -> App:
    """The application; `about` is what `/health` tells of the index."""
    rest = _described(routes, about)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in routes.hot:
            await rest(scope, receive, send)
            return
        answer = await routes.answer(scope["path"], receive)
        headers = [_JSON, (b"content-length", b"%d" % len(answer.body))]
        if answer.retry_after_s:
            headers.append((b"retry-after", b"%d" % answer.retry_after_s))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    return app


def _described(routes: Routes, about: dict[str, str | int]) -> FastAPI:
    """The routes that are not hot, and the description of those that are."""
    app = FastAPI(title="WideSeek retrieval", docs_url="/docs", redoc_url=None)

    async def retrieve() -> Response:
        """Passages for each query."""
        raise AssertionError("answered before")

    async def access() -> Response:
        """The pages at URLs, null for unknown ones."""
        raise AssertionError("answered before")

    async def health() -> Response:
        """What is served."""
        return Response(orjson.dumps({"status": "ok", **about}), media_type="application/json")

    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(routes.metrics.text(), media_type="text/plain; version=0.0.4")

    more: dict[str, Any] = {
        "topk": {"type": "integer", "minimum": 1},
        "return_scores": {"type": "boolean", "default": False},
    }
    app.post("/retrieve", openapi_extra=openapi_body("queries", more))(retrieve)
    app.post("/access", openapi_extra=openapi_body("urls"))(access)
    app.get("/health", response_class=Response)(health)
    app.get("/metrics", response_class=Response)(metrics)
    return app


def _problem(status: int, detail: str) -> Answer:
    return Answer(status, orjson.dumps({"detail": detail}))
