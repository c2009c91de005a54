"""The server's routes.

`/retrieve` and `/access` are parsed by hand: they carry nearly all requests, and validation by
framework costs more than a BM25 search.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from fastapi import FastAPI, Request, Response

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

RETRY_AFTER_S = 1


class Retriever(Protocol):
    """A search that gives whole passages, in batches."""

    batcher: Batcher[tuple[str, int], list[Passage]]

    async def passages(self, query: str, k: int) -> list[Passage]:
        """At most `k` passages, best first."""
        ...


class Routes:
    """The answers to requests, for one search and one page store."""

    def __init__(self, search: Retriever, pages: PageStore, config: ServeConfig) -> None:
        self._search, self._pages, self._config = search, pages, config
        self.metrics = Metrics(search.batcher)

    async def retrieve(self, request: Request) -> Response:
        """Passages for each query."""
        return await self._timed("retrieve", request, self._retrieve)

    async def access(self, request: Request) -> Response:
        """The pages at URLs, null for unknown ones."""
        return await self._timed("access", request, self._access)

    async def _retrieve(self, body: bytes) -> Response:
        asked = parse_retrieve(body, self._config)
        batcher = self._search.batcher
        if batcher.waiting and batcher.waiting + len(asked.queries) > self._config.max_waiting:
            raise QueueFull("too many queries are waiting")
        if len(asked.queries) == 1:
            found = [await self._search.passages(asked.queries[0], asked.topk)]
        else:
            searches = [self._search.passages(query, asked.topk) for query in asked.queries]
            found = list(await asyncio.gather(*searches))
        return _json(result(found, asked.scores))

    async def _access(self, body: bytes) -> Response:
        urls = parse_access(body, self._config)
        rows = await asyncio.to_thread(lambda: [self._page(url) for url in urls])
        return _json(orjson.dumps({"result": rows}))

    def _page(self, url: str) -> dict[str, str] | None:
        try:
            page = self._pages.lookup(url)
        except (NoContent, ToolRefused):
            return None
        return {"url": page.url, "contents": page.text, "title": page.title}

    async def _timed(
        self, route: str, request: Request, work: Callable[[bytes], Awaitable[Response]]
    ) -> Response:
        started = time.monotonic()
        try:
            response = await work(await self._body(request))
        except BadRequest as error:
            response = _problem(error.status, str(error))
        except QueueFull as error:
            response = _problem(503, str(error))
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        except ToolError as error:
            response = _problem(500, str(error))
        self.metrics.seen(route, response.status_code, time.monotonic() - started)
        return response

    async def _body(self, request: Request) -> bytes:
        limit = self._config.max_body_bytes
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise BadRequest(413, f"the body is larger than {limit} bytes")
            parts.append(part)
        return b"".join(parts)


def make_app(routes: Routes, about: dict[str, str | int]) -> FastAPI:
    """The application; `about` is what `/health` tells of the index."""
    app = FastAPI(title="WideSeek retrieval", docs_url="/docs", redoc_url=None)
    app.post(
        "/retrieve",
        openapi_extra=openapi_body(
            "queries",
            {
                "topk": {"type": "integer", "minimum": 1},
                "return_scores": {"type": "boolean", "default": False},
            },
        ),
    )(routes.retrieve)
    app.post("/access", openapi_extra=openapi_body("urls"))(routes.access)

    async def health() -> Response:
        return _json(orjson.dumps({"status": "ok", **about}))

    async def metrics() -> Response:
        return Response(routes.metrics.text(), media_type="text/plain; version=0.0.4")

    app.get("/health", response_class=Response)(health)
    app.get("/metrics", response_class=Response)(metrics)
    return app


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _problem(status: int, detail: str) -> Response:
    return Response(orjson.dumps({"detail": detail}), status, media_type="application/json")
