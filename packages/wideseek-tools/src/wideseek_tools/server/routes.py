"""What `/retrieve` and `/access` answer, whichever way a request came in."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
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
        self.metrics = Metrics(search.batcher)
        self.hot: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            "/retrieve": self._retrieve,
            "/access": self._access,
        }

    async def answer(self, path: str, body: bytes | BadRequest) -> Answer:
        """The answer to a `POST` on one of the hot paths."""
        started = time.perf_counter()
        try:
            if isinstance(body, BadRequest):
                raise body
            found = Answer(200, await self.hot[path](body))
        except BadRequest as error:
            found = _problem(error.status, str(error))
        except QueueFull as error:
            found = Answer(503, _problem(503, str(error)).body, RETRY_AFTER_S)
        except ToolError as error:
            found = _problem(500, str(error))
        self.metrics.seen(path[1:], found.status, time.perf_counter() - started)
        return found

    async def _retrieve(self, body: bytes) -> bytes:
        asked = parse_retrieve(body, self.config)
        waiting = self._batcher.waiting
        if waiting and waiting + len(asked.queries) > self.config.max_waiting:
            raise QueueFull("too many queries are waiting")
        searches = [
            self._batcher.enqueue((query, asked.topk)) if query.strip() else None
            for query in asked.queries
        ]
        return result([await search if search else [] for search in searches], asked.scores)

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
