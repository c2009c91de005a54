"""Asks a search service of one's own: `search.kind=lighthouse`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from wideseek_core import Document
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.plugins import Plugin
from wideseek_tools.service import Service, objects, open_service, results_at, string


class LighthouseConfig(EndpointConfig):
    """The service's address, key and limits; `EndpointConfig` brings time-outs and retries."""

    kind: Literal["lighthouse"] = "lighthouse"
    base_url: str = "https://search.example.org"
    api_key_env: str = "LIGHTHOUSE_API_KEY"
    safe: bool = True
    """Leave out results that are not for everybody."""


class LighthouseSearch:
    """One request a query."""

    def __init__(self, config: LighthouseConfig, service: Service) -> None:
        self._config = config
        self._service = service

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        parameters = {"q": query, "n": str(k), "safe": str(int(self._config.safe))}
        answer = await self._service.get("/search", parameters, results_at("hits"))
        return [
            Document(url=string(hit, "url"), title=string(hit, "title"), text=string(hit, "text"))
            for hit in objects(answer, "hits")
        ][:k]


@asynccontextmanager
async def open_lighthouse(config: LighthouseConfig) -> AsyncGenerator[LighthouseSearch]:
    """The provider, closed at the end of the block."""
    async with open_service("Lighthouse", config, key_required=False) as service:
        yield LighthouseSearch(config, service)


SEARCH = Plugin(config=LighthouseConfig, open=open_lighthouse)
