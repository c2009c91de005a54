"""Client of the retrieval server's `/retrieve` and `/access`, this package's or a public one."""

from contextlib import AsyncExitStack

from pydantic import JsonValue

from wideseek_core.errors import NoContent, ToolUnavailable
from wideseek_core.search import Document, Page
from wideseek_tools.config import ServerConfig, ServerPagesConfig
from wideseek_tools.http import HttpService, string
from wideseek_tools.passages import Passage, quoted_title


class ServerSearch:
    """Searches a retrieval server."""

    def __init__(self, http: HttpService) -> None:
        self._http = http

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        if k < 1 or not query.strip():
            return []
        body: dict[str, JsonValue] = {"queries": [query], "topk": k, "return_scores": True}
        rows = _only(await self._http.post("/retrieve", body))
        if not isinstance(rows, list):
            raise ToolUnavailable("the retrieval server answered something else than a list")
        return [_document(row) for row in rows if isinstance(row, dict)][:k]


class ServerPages:
    """Reads pages from a retrieval server."""

    def __init__(self, http: HttpService) -> None:
        self._http = http

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        row = _only(await self._http.post("/access", {"urls": [url]}))
        if not isinstance(row, dict) or not string(row, "contents").strip():
            raise NoContent(f"no page at {url!r}")
        contents = string(row, "contents")
        title = string(row, "title") or quoted_title(contents)
        return Page(url=string(row, "url") or url, text=contents, title=title, source="server")


def _only(answer: JsonValue) -> JsonValue:
    """The result for the only item asked for."""
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, list) or len(result) != 1:
        raise ToolUnavailable("the retrieval server's answer has not one result")
    return result[0]


def _document(row: dict[str, JsonValue]) -> Document:
    payload, score = row.get("document", row), row.get("score", 0.0)
    if not isinstance(payload, dict):
        raise ToolUnavailable("the retrieval server sent a document that is no object")
    contents = string(payload, "contents")
    passage = Passage(
        id=str(payload.get("id", "")),
        url=string(payload, "url"),
        title=string(payload, "title") or quoted_title(contents),
        contents=contents,
    )
    return passage.document(float(score) if isinstance(score, int | float) else 0.0)


async def open_server(config: ServerConfig, stack: AsyncExitStack) -> ServerSearch:
    """The search client, to be closed by `stack`."""
    http = HttpService("the retrieval server", config.url, config.limits)
    return ServerSearch(await stack.enter_async_context(http))


async def open_server_pages(config: ServerPagesConfig, stack: AsyncExitStack) -> ServerPages:
    """The page client, to be closed by `stack`."""
    http = HttpService("the retrieval server", config.url, config.limits)
    return ServerPages(await stack.enter_async_context(http))
