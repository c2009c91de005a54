"""Brave's web search (`GET /res/v1/web/search`)."""

import html
import re
from contextlib import AsyncExitStack

from wideseek_core.search import Document
from wideseek_tools.config import BraveConfig
from wideseek_tools.http import HttpService, key_for, objects, string

VARIABLE = "BRAVE_API_KEY"
MOST = 20
"""Results the service gives at once."""


class Brave:
    """Web results; the score counts down with the rank."""

    def __init__(self, http: HttpService) -> None:
        self._http = http

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        params = {"q": query[:400], "count": str(max(1, min(k, MOST)))}
        answer = await self._http.get("/res/v1/web/search", params)
        found = [one for one in objects(answer, "web", "results") if string(one, "url")]
        return [
            Document(
                url=string(one, "url"),
                title=_plain(string(one, "title")),
                text=_plain(string(one, "description")),
                score=1.0 / rank,
            )
            for rank, one in enumerate(found[:k], 1)
        ]


def _plain(marked: str) -> str:
    """Without the tags that mark the query's words."""
    return html.unescape(re.sub(r"</?\w+>", "", marked))


async def open_brave(config: BraveConfig, stack: AsyncExitStack) -> Brave:
    """The backend with its key, to be closed by `stack`. Raises `ConfigError` without a key."""
    headers = {"X-Subscription-Token": key_for("Brave", VARIABLE), "Accept": "application/json"}
    http = HttpService("Brave", config.url, config.limits, headers, variable=VARIABLE)
    return Brave(await stack.enter_async_context(http))
