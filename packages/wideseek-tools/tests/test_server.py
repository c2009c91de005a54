import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from wideseek_core.errors import ToolUnavailable
from wideseek_tools.batching import Batcher
from wideseek_tools.index.build import build_index
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.page_store import PageStore
from wideseek_tools.passages import Hit
from wideseek_tools.server.app import make_app
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.routes import Routes

SMALL = ServeConfig(max_queries=4, max_query_chars=50, max_body_bytes=2000, max_topk=10)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows = [
        {"url": "http://a.org/index.php?title=Io", "title": "Io", "contents": "A moon of Jupiter."},
        {"url": "http://a.org/wiki/Mars", "title": "Mars", "contents": "A planet."},
    ]
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_index(None, path, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
async def client(index: Path) -> AsyncGenerator[httpx.AsyncClient]:
    with PageStore(index / "pages.sqlite") as pages:
        async with IndexSearch(index) as search:
            app = make_app(Routes(search, pages, SMALL), {"passages": 2})
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                yield client


async def post(client: httpx.AsyncClient, path: str, body: object) -> Any:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()["result"]


async def test_retrieve_gives_payloads(client: httpx.AsyncClient) -> None:
    (io, mars) = await post(client, "/retrieve", {"queries": ["moon", "planet"], "topk": 1})
    assert io == [
        {
            "id": "1",
            "url": "http://a.org/index.php?title=Io",
            "title": "Io",
            "contents": '"Io"\nA moon of Jupiter.',
        }
    ]
    assert mars[0]["url"] == "http://a.org/wiki/Mars"


@pytest.mark.parametrize("topk", [None, 0])
async def test_retrieve_with_scores_and_the_usual_number(
    client: httpx.AsyncClient, topk: int | None
) -> None:
    body = {"queries": ["moon planet"], "topk": topk, "return_scores": True}
    (found,) = await post(client, "/retrieve", body)
    assert [one["document"]["title"] for one in found] in (["Io", "Mars"], ["Mars", "Io"])
    assert found[0]["score"] >= found[1]["score"] > 0


async def test_access_gives_pages_in_order_and_null(client: httpx.AsyncClient) -> None:
    urls = ["http://a.org/wiki/Mars", "http://a.org/none", "http://a.org/index.php/Io", ""]
    mars, none, io, empty = await post(client, "/access", {"urls": urls})
    assert mars == {"url": "http://a.org/wiki/Mars", "contents": "A planet.", "title": "Mars"}
    assert io["contents"] == "A moon of Jupiter."
    assert none is empty is None


async def test_nothing_asked_nothing_given(client: httpx.AsyncClient) -> None:
    assert await post(client, "/retrieve", {"queries": []}) == []
    assert await post(client, "/retrieve", {"queries": [""]}) == [[]]
    assert await post(client, "/access", {"urls": []}) == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/retrieve", b"{", 400),
        ("/retrieve", b"[]", 422),
        ("/retrieve", b"{}", 422),
        ("/retrieve", b'{"queries": "moon"}', 422),
        ("/retrieve", b'{"queries": [1]}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": "3"}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": -1}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": true}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": 11}', 422),
        ("/retrieve", b'{"queries": ["a", "b", "c", "d", "e"]}', 413),
        ("/retrieve", b'{"queries": ["' + b"a" * 51 + b'"]}', 413),
        ("/retrieve", b" " * 2001, 413),
        ("/access", b'{"queries": ["a"]}', 422),
        ("/access", b"\xff", 400),
    ],
)
async def test_bad_request_says_why(
    client: httpx.AsyncClient, path: str, body: bytes, status: int
) -> None:
    response = await client.post(path, content=body)
    assert response.status_code == status
    assert response.json()["detail"]


async def test_health_metrics_and_openapi(client: httpx.AsyncClient) -> None:
    await post(client, "/retrieve", {"queries": ["moon"]})
    assert (await client.get("/health")).json() == {"status": "ok", "passages": 2}
    text = (await client.get("/metrics")).text
    assert 'wideseek_requests_total{route="retrieve",status="200"} 1.0' in text
    assert "wideseek_search_batches 1.0" in text
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/retrieve", "/access", "/health"} <= set(paths)
    assert "queries" in str(paths["/retrieve"]["post"]["requestBody"])


class Stuck:
    """A search that answers when told to."""

    def __init__(self) -> None:
        self.started, self.release = asyncio.Event(), asyncio.Event()
        self.batcher: Batcher[tuple[str, int], list[Hit]] = Batcher(
            self._work, max_batch=1, max_waiting=2
        )

    async def _work(self, keys: list[tuple[str, int]]) -> list[list[Hit]]:
        self.started.set()
        await self.release.wait()
        if ("bad", 5) in keys:
            raise ToolUnavailable("the index did not answer")
        return [[] for _ in keys]


async def test_full_queue_is_503_with_retry_after(index: Path) -> None:
    search = Stuck()
    with PageStore(index / "pages.sqlite") as pages:
        async with search.batcher:
            app = make_app(Routes(search, pages, ServeConfig(max_waiting=2)), {})
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:

                def ask(query: str) -> asyncio.Task[httpx.Response]:
                    body = {"queries": [query]}
                    return asyncio.create_task(client.post("/retrieve", json=body))

                waiting = [ask("a")]
                await search.started.wait()
                waiting += [ask("b"), ask("bad")]
                await asyncio.sleep(0.1)
                assert search.batcher.waiting == 2
                refused = await ask("c")
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
                search.release.set()
                assert [(await one).status_code for one in waiting] == [200, 200, 500]
