"""What `/retrieve` and `/access` answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import orjson

from wideseek_core.errors import BadRequest, NoContent, QueueFull, ToolError, ToolRefused
from wideseek_tools.batching import Batcher
from wideseek_tools.page_store import PageStore
from wideseek_tools.passages import Hit
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.metrics import Metrics
from wideseek_tools.server.requests import parse_access, parse_retrieve, result

RETRY_AFTER_S = 1
MAX_CHUNK = 256
"""Queries of one request that wait at once, so that a large request leaves room for others."""


class Retriever(Protocol):
    """A search by query and number of hits, in batches."""

    batcher: Batcher[tuple[str, int], list[Hit]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON response."""

    status: int
    body: bytes
    retry_after_s: int = 0


class Routes:
    """The answers to requests, for one search and one page store."""

    def __init__(self, search: Retriever, pages: PageStore, config: ServeConfig) -> None:
        self.config = config
        self._batcher, self._pages = search.batcher, pages
        self._pending_bytes = 0
        self.metrics = Metrics(search.batcher)
        self.posts: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            "/retrieve": self._retrieve,
            "/access": self._access,
        }

    async def answer(self, path: str, body: bytes | BadRequest) -> Answer:
        """The answer to a `POST` on one of the two paths."""
        started = time.perf_counter()
        try:
            if isinstance(body, BadRequest):
                raise body
            with self._room(len(body)):
                found = Answer(200, await self.posts[path](body))
        except BadRequest as error:
            found = _problem(error.status, str(error))
        except QueueFull as error:
            found = Answer(503, _problem(503, str(error)).body, RETRY_AFTER_S)
        except ToolError as error:
            found = _problem(500, str(error))
        self.metrics.seen(path[1:], found.status, time.perf_counter() - started)
        return found

    @contextmanager
    def _room(self, size: int) -> Generator[None]:
        """Bounds the bytes of all requests that are being answered. Raises `QueueFull`."""
        if self._pending_bytes and self._pending_bytes + size > self.config.max_pending_bytes:
            raise QueueFull("too many requests are being answered")
        self._pending_bytes += size
        try:
            yield
        finally:
            self._pending_bytes -= size

    async def _retrieve(self, body: bytes) -> bytes:
        request = parse_retrieve(body, self.config)
        topk = request.topk or self.config.topk
        chunk = min(MAX_CHUNK, self.config.max_waiting)
        queries, found = request.queries, list[list[Hit]]()
        waiting = self._batcher.waiting
        if waiting and waiting + min(len(queries), chunk) > self.config.max_waiting:
            raise QueueFull("too many queries are waiting")
        for start in range(0, len(queries), chunk):
            part = queries[start : start + chunk]
            if start:
                await self._batcher.wait_for_room(len(part))
            searches = [
                self._batcher.enqueue((query, topk)) if query.strip() else None for query in part
            ]
            found += [await search if search else [] for search in searches]
        return result(found, request.return_scores)

    async def _access(self, body: bytes) -> bytes:
        urls = parse_access(body, self.config)
        rows = await asyncio.to_thread(lambda: [self._page(url) for url in urls])
        return orjson.dumps({"result": rows})

    def _page(self, url: str) -> dict[str, str] | None:
        try:
            page = self._pages.lookup(url)
        except (NoContent, ToolRefused):
            return None
        return {"url": page.url, "contents": page.text, "title": page.title}


def _problem(status: int, detail: str) -> Answer:
    return Answer(status, orjson.dumps({"detail": detail}))
