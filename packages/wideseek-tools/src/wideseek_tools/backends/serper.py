"""Google results through Serper (`POST /search`)."""

from contextlib import AsyncExitStack

from pydantic import JsonValue

from wideseek_core.search import Document
from wideseek_tools.config import SerperConfig
from wideseek_tools.http import HttpService, key_for, objects, string

VARIABLE = "SERPER_API_KEY"


class Serper:
    """Organic results; the score counts down with the rank."""

    def __init__(self, config: SerperConfig, http: HttpService) -> None:
        self._http = http
        self._always: dict[str, JsonValue] = {}
        if config.country:
            self._always["gl"] = config.country
        if config.language:
            self._always["hl"] = config.language

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        answer = await self._http.post("/search", {"q": query, "num": k, **self._always})
        found = [one for one in objects(answer, "organic") if string(one, "link")]
        return [
            Document(
                url=string(one, "link"),
                title=string(one, "title"),
                text=string(one, "snippet"),
                score=1.0 / rank,
            )
            for rank, one in enumerate(found[:k], 1)
        ]


async def open_serper(config: SerperConfig, stack: AsyncExitStack) -> Serper:
    """The backend with its key, to be closed by `stack`. Raises `ConfigError` without a key."""
    headers = {"X-API-KEY": key_for("Serper", VARIABLE)}
    http = HttpService("Serper", config.url, config.limits, headers, variable=VARIABLE)
    return Serper(config, await stack.enter_async_context(http))
