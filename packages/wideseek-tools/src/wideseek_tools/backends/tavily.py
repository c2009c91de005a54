"""Tavily's search (`POST /search`)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document
from wideseek_tools.service import Service, number, objects, open_service, results_at, string

MAX_RESULTS = 20
"""Results the service gives at once."""
MAX_QUERY_CHARS = 400
"""The service refuses longer queries."""


class TavilyConfig(EndpointConfig):
    """Tavily's search."""

    kind: Literal["tavily"] = "tavily"
    base_url: str = "https://api.tavily.com"
    api_key_env: str = "TAVILY_API_KEY"
    depth: Literal["basic", "advanced"] = "basic"
    timeout_s: float = 20.0
    deadline_s: float = 90.0
    max_requests_per_s: float | None = 50.0


class Tavily:
    """Results with Tavily's own scores."""

    def __init__(self, config: TavilyConfig, service: Service) -> None:
        self._depth, self._service = config.depth, service

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        answer = await self._service.post(
            "/search",
            {
                "query": query.strip()[:MAX_QUERY_CHARS],
                "max_results": max(1, min(k, MAX_RESULTS)),
                "search_depth": self._depth,
            },
            results_at("results"),
        )
        return [
            Document(
                url=string(item, "url"),
                title=string(item, "title"),
                text=string(item, "content"),
                score=number(item, "score"),
            )
            for item in objects(answer, "results")
            if string(item, "url")
        ][:k]


@asynccontextmanager
async def open_tavily(config: TavilyConfig) -> AsyncGenerator[Tavily]:
    """The backend with its key. Raises `ConfigError` without one."""
    async with open_service("Tavily", config) as service:
        yield Tavily(config, service)


SEARCH = Plugin(config=TavilyConfig, open=open_tavily)
