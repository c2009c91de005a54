"""A SearXNG of your own (`GET /search?format=json`); its settings must list `formats: [json]`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import JsonValue

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ToolUnavailable
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document
from wideseek_tools.service import Service, number, objects, open_service, results_at, string

MAX_PAGES = 3
"""Result pages asked for: the service has no parameter for the number of results."""


class SearxngConfig(EndpointConfig):
    """A SearXNG of your own, with `formats: [html, json]` in its settings.yml."""

    kind: Literal["searxng"] = "searxng"
    base_url: str = "http://127.0.0.1:8888"
    language: str = "auto"
    timeout_s: float = 20.0
    deadline_s: float = 90.0


class Searxng:
    """Results of all its engines, with its own scores."""

    def __init__(self, config: SearxngConfig, service: Service) -> None:
        self._language, self._service = config.language, service

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`, also if engines failed."""
        found: dict[str, Document] = {}
        for page in range(1, MAX_PAGES + 1):
            answer = await self._page(query, page)
            before = len(found)
            for item in objects(answer, "results"):
                if url := string(item, "url"):
                    document = Document(
                        url=url,
                        title=string(item, "title"),
                        text=string(item, "content"),
                        score=number(item, "score"),
                    )
                    found.setdefault(url, document)
            if not found and (reasons := _unresponsive(answer)):
                raise ToolUnavailable(f"SearXNG: no engine answered: {reasons}")
            if len(found) >= k or len(found) == before:
                break
        return list(found.values())[:k]

    async def _page(self, query: str, page: int) -> JsonValue:
        params = {"q": query, "format": "json", "pageno": str(page), "language": self._language}
        try:
            return await self._service.get("/search", params, results_at("results"))
        except ToolUnavailable as error:
            if "HTTP 403" in str(error):
                hint = "do its settings list `formats: [html, json]`?"
                raise ToolUnavailable(f"{error} ({hint})") from None
            raise


def _unresponsive(answer: JsonValue) -> str:
    """The engines that did not answer, with their reasons; empty if all did."""
    listed = answer.get("unresponsive_engines") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return ""
    engines = [
        ": ".join(map(str, engine)) if isinstance(engine, list) else str(engine)
        for engine in listed
    ]
    return ", ".join(engines)[:300]


@asynccontextmanager
async def open_searxng(config: SearxngConfig) -> AsyncGenerator[Searxng]:
    """The backend."""
    async with open_service("SearXNG", config, key_required=False) as service:
        yield Searxng(config, service)


SEARCH = Plugin(config=SearxngConfig, open=open_searxng)
