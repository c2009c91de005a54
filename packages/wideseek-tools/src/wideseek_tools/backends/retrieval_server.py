"""Client of the retrieval server's `/retrieve` and `/access`, this package's or a public one."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from wideseek_core.config import validate
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ConfigError, NoContent, ToolUnavailable
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document, Page
from wideseek_tools.addresses import read_addresses
from wideseek_tools.passages import Passage, quoted_title
from wideseek_tools.service import Service, number, open_service, results_at, string


class RetrievalEndpointConfig(EndpointConfig):
    """One retrieval server, or several with the same index."""

    base_url: str = "http://127.0.0.1:8000"
    more_base_urls: tuple[str, ...] = ()
    """Further servers; a request goes where the fewest are in flight, and on if that one fails."""
    address_file: Path | None = None
    """A file with one address a line, or a folder of such files, as servers write them.
    It replaces the addresses above.
    """
    max_concurrent: int = Field(default=64, ge=1)
    """Requests in flight at once, for each server."""
    timeout_s: float = 30.0
    deadline_s: float = 90.0


class ServerConfig(RetrievalEndpointConfig):
    """A retrieval server's `/retrieve`."""

    kind: Literal["server"] = "server"


class ServerPagesConfig(RetrievalEndpointConfig):
    """A retrieval server's `/access`."""

    kind: Literal["server"] = "server"


class ServerPool:
    """Several servers that answer alike."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._in_flight: Counter[int] = Counter()

    async def post(self, path: str, body: Mapping[str, JsonValue]) -> JsonValue:
        """The answer of the least busy server, or of another if it fails. Raises `ToolError`."""
        places = sorted(range(len(self._services)), key=self._in_flight.__getitem__)
        for place in places[:-1]:
            try:
                return await self._post(place, path, body)
            except ToolUnavailable:
                continue
        return await self._post(places[-1], path, body)

    async def _post(self, place: int, path: str, body: Mapping[str, JsonValue]) -> JsonValue:
        self._in_flight[place] += 1
        try:
            return await self._services[place].post(path, body, results_at("result"))
        finally:
            self._in_flight[place] -= 1


class ServerSearch:
    """Searches a retrieval server."""

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        if k < 1 or not query.strip():
            return []
        body: dict[str, JsonValue] = {"queries": [query], "topk": k, "return_scores": True}
        rows = _only_result(await self._pool.post("/retrieve", body))
        if not isinstance(rows, list):
            raise ToolUnavailable("the retrieval server answered something else than a list")
        return [_document(row) for row in rows if isinstance(row, dict)][:k]


class ServerPages:
    """Reads pages from a retrieval server."""

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        row = _only_result(await self._pool.post("/access", {"urls": [url]}))
        if not isinstance(row, dict) or not string(row, "contents").strip():
            raise NoContent(f"no page at {url!r}")
        contents = string(row, "contents")
        title = string(row, "title") or quoted_title(contents)
        return Page(url=string(row, "url") or url, text=contents, title=title, source="server")


def _only_result(answer: JsonValue) -> JsonValue:
    """The result for the only item asked for."""
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, list) or len(result) != 1:
        raise ToolUnavailable("the retrieval server's answer has not one result")
    return result[0]


def _document(row: dict[str, JsonValue]) -> Document:
    payload = row.get("document", row)
    if not isinstance(payload, dict):
        raise ToolUnavailable("the retrieval server sent a document that is no object")
    contents = string(payload, "contents")
    passage = Passage(
        id=str(payload.get("id", "")),
        url=string(payload, "url"),
        title=string(payload, "title") or quoted_title(contents),
        contents=contents,
    )
    return passage.document(number(row, "score"))


@asynccontextmanager
async def _open_pool(config: RetrievalEndpointConfig) -> AsyncGenerator[ServerPool]:
    async with AsyncExitStack() as stack:
        services: list[Service] = []
        for address in addresses(config):
            endpoint = validate(
                EndpointConfig,
                {name: getattr(config, name) for name in EndpointConfig.model_fields}
                | {"base_url": address},
            )
            opened = open_service("the retrieval server", endpoint)
            services.append(await stack.enter_async_context(opened))
        yield ServerPool(services)


def addresses(config: RetrievalEndpointConfig) -> list[str]:
    """Where the servers are. Raises `ConfigError` for an address file without addresses."""
    path = config.address_file
    if path is None:
        return [config.base_url, *config.more_base_urls]
    try:
        found = read_addresses(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"address_file: {path} can't be read: {error}") from None
    if not found:
        raise ConfigError(f"address_file: {path} holds no address yet")
    return found


@asynccontextmanager
async def open_server(config: ServerConfig) -> AsyncGenerator[ServerSearch]:
    """The search client."""
    async with _open_pool(config) as pool:
        yield ServerSearch(pool)


@asynccontextmanager
async def open_server_pages(config: ServerPagesConfig) -> AsyncGenerator[ServerPages]:
    """The page client."""
    async with _open_pool(config) as pool:
        yield ServerPages(pool)


SEARCH = Plugin(config=ServerConfig, open=open_server)
PAGES = Plugin(config=ServerPagesConfig, open=open_server_pages)
