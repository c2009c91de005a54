"""Tavily's search (`POST /search`)."""

from contextlib import AsyncExitStack

from wideseek_core.search import Document
from wideseek_tools.config import TavilyConfig
from wideseek_tools.http import HttpService, key_for, objects, string

VARIABLE = "TAVILY_API_KEY"
MOST = 20
"""Results the service gives at once."""


class Tavily:
    """Results with Tavily's own scores."""

    def __init__(self, config: TavilyConfig, http: HttpService) -> None:
        self._depth, self._http = config.depth, http

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        body = {"query": query, "max_results": min(k, MOST), "search_depth": self._depth}
        answer = await self._http.post("/search", {**body})
        found: list[Document] = []
        for one in objects(answer, "results")[:k]:
            score = one.get("score")
            if string(one, "url"):
                found.append(
                    Document(
                        url=string(one, "url"),
                        title=string(one, "title"),
                        text=string(one, "content"),
                        score=float(score) if isinstance(score, int | float) else 0.0,
                    )
                )
        return found


async def open_tavily(config: TavilyConfig, stack: AsyncExitStack) -> Tavily:
    """The backend with its key, to be closed by `stack`. Raises `ConfigError` without a key."""
    headers = {"Authorization": f"Bearer {key_for('Tavily', VARIABLE)}"}
    http = HttpService("Tavily", config.url, config.limits, headers, variable=VARIABLE)
    return Tavily(config, await stack.enter_async_context(http))
