"""An own SearXNG (`GET /search?format=json`); its settings must list `formats: [html, json]`."""

from contextlib import AsyncExitStack

from wideseek_core.search import Document
from wideseek_tools.config import SearxngConfig
from wideseek_tools.http import HttpService, objects, string

PAGES = 3
"""Result pages asked for at most: the service has no parameter for the number of results."""


class Searxng:
    """Results of all its engines, with its own scores."""

    def __init__(self, config: SearxngConfig, http: HttpService) -> None:
        self._language, self._http = config.language, http

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        found: dict[str, Document] = {}
        for page in range(1, PAGES + 1):
            params = {
                "q": query,
                "format": "json",
                "pageno": str(page),
                "language": self._language,
            }
            items = objects(await self._http.get("/search", params), "results")
            before = len(found)
            for one in items:
                url, score = string(one, "url"), one.get("score")
                if url:
                    number = float(score) if isinstance(score, int | float) else 0.0
                    title, content = string(one, "title"), string(one, "content")
                    document = Document(url=url, title=title, text=content, score=number)
                    found.setdefault(url, document)
            if len(found) >= k or len(found) == before:
                break
        return list(found.values())[:k]


async def open_searxng(config: SearxngConfig, stack: AsyncExitStack) -> Searxng:
    """The backend, to be closed by `stack`."""
    http = HttpService(
        "SearXNG", config.url, config.limits, variable="`formats` in its settings.yml"
    )
    return Searxng(config, await stack.enter_async_context(http))
