"""Brave's web search (`GET /res/v1/web/search`)."""

import html
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document
from wideseek_tools.service import Service, objects, open_service, results_at, string

MAX_RESULTS = 20
"""Results the service gives at once."""
MAX_QUERY_CHARS, MAX_QUERY_WORDS = 400, 50
"""The service refuses longer queries."""


class BraveConfig(EndpointConfig):
    """Brave's web search."""

    kind: Literal["brave"] = "brave"
    base_url: str = "https://api.search.brave.com"
    api_key_env: str = "BRAVE_API_KEY"
    max_requests_per_s: float | None = 1.0
    timeout_s: float = 20.0
    deadline_s: float = 90.0


class Brave:
    """Web results; the score counts down with the rank."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        query = " ".join(query.split()[:MAX_QUERY_WORDS])[:MAX_QUERY_CHARS]
        params = {"q": query, "count": str(max(1, min(k, MAX_RESULTS)))}
        check = results_at("web", "results", empty_if="query")
        answer = await self._service.get("/res/v1/web/search", params, check)
        found = [item for item in objects(answer, "web", "results") if string(item, "url")]
        return [
            Document(
                url=string(item, "url"),
                title=_plain(string(item, "title")),
                text=_plain(string(item, "description")),
                score=1.0 / rank,
            )
            for rank, item in enumerate(found[:k], 1)
        ]


def _plain(marked: str) -> str:
    """The text without the tags that mark the query's words."""
    return html.unescape(re.sub(r"</?\w+>", "", marked))


@asynccontextmanager
async def open_brave(config: BraveConfig) -> AsyncGenerator[Brave]:
    """The backend with its key. Raises `ConfigError` without one."""
    headers = {"Accept": "application/json"}
    async with open_service(
        "Brave", config, headers=headers, key_header="X-Subscription-Token"
    ) as service:
        yield Brave(service)


SEARCH = Plugin(config=BraveConfig, open=open_brave)
