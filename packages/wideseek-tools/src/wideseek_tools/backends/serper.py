"""Google results through Serper (`POST /search`)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import JsonValue

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document
from wideseek_tools.service import Service, objects, open_service, results_at, string

MAX_QUERY_CHARS = 2048
"""Google reads no more."""


class SerperConfig(EndpointConfig):
    """Google results through Serper."""

    kind: Literal["serper"] = "serper"
    base_url: str = "https://google.serper.dev"
    api_key_env: str = "SERPER_API_KEY"
    country: str = ""
    """Two letters (`gl`)."""
    language: str = ""
    """Two letters (`hl`)."""
    timeout_s: float = 20.0
    deadline_s: float = 90.0
    max_requests_per_s: float | None = 50.0


class Serper:
    """Organic results; the score counts down with the rank."""

    def __init__(self, config: SerperConfig, service: Service) -> None:
        self._service = service
        self._fixed: dict[str, JsonValue] = {}
        if config.country:
            self._fixed["gl"] = config.country
        if config.language:
            self._fixed["hl"] = config.language

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        body: dict[str, JsonValue] = {"q": query[:MAX_QUERY_CHARS], "num": max(1, k), **self._fixed}
        check = results_at("organic", empty_if="searchParameters")
        answer = await self._service.post("/search", body, check)
        found = [item for item in objects(answer, "organic") if string(item, "link")]
        return [
            Document(
                url=string(item, "link"),
                title=string(item, "title"),
                text=string(item, "snippet"),
                score=1.0 / rank,
            )
            for rank, item in enumerate(found[:k], 1)
        ]


@asynccontextmanager
async def open_serper(config: SerperConfig) -> AsyncGenerator[Serper]:
    """The backend with its key. Raises `ConfigError` without one."""
    async with open_service("Serper", config, key_header="X-API-KEY") as service:
        yield Serper(config, service)


SEARCH = Plugin(config=SerperConfig, open=open_serper)
