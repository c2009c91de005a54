import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from wideseek_core.errors import ToolUnavailable
from wideseek_core.testing import until
from wideseek_tools.batching import Batcher
from wideseek_tools.index.build import build_index
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.page_store import PageStore
from wideseek_tools.passages import Hit
from wideseek_tools.server.answers import AccessAnswer, Health, Problem, RetrieveAnswer
from wideseek_tools.server.app import make_app
from wideseek_tools.server.config import ServeConfig
from wideseek_tools.server.routes import Routes

SMALL = ServeConfig(max_query_chars=50, max_body_bytes=20_000, max_topk=10, max_urls=5)


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
async def client(index: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    with PageStore(index / "pages.sqlite") as pages:
        async with IndexSearch(index) as search:
            app = make_app(Routes(search, pages, SMALL), {"passages": 2})
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
                yield client


async def post(client: httpx2.AsyncClient, path: str, body: object) -> Any:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()["result"]


async def test_retrieve_gives_payloads(client: httpx2.AsyncClient) -> None:
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
    client: httpx2.AsyncClient, topk: int | None
) -> None:
    body = {"queries": ["moon planet"], "topk": topk, "return_scores": True}
    (found,) = await post(client, "/retrieve", body)
    assert [one["document"]["title"] for one in found] in (["Io", "Mars"], ["Mars", "Io"])
    assert found[0]["score"] >= found[1]["score"] > 0


async def test_access_gives_pages_in_order_and_null(client: httpx2.AsyncClient) -> None:
    urls = ["http://a.org/wiki/Mars", "http://a.org/none", "http://a.org/index.php/Io", ""]
    mars, none, io, empty = await post(client, "/access", {"urls": urls})
    assert mars == {"url": "http://a.org/wiki/Mars", "contents": "A planet.", "title": "Mars"}
    assert io["contents"] == "A moon of Jupiter."
    assert none is empty is None


async def test_nothing_asked_nothing_given(client: httpx2.AsyncClient) -> None:
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
        ("/retrieve", b'{"queries": [null]}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": "three"}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": 1.5}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": NaN}', 422),
        ("/retrieve", b'{"queries": ["a"], "topk": -1}', 422),
        ("/retrieve", b'{"queries": ["a"], "return_scores": "perhaps"}', 422),
        ("/retrieve", b"[" * 15_000, 400),
        ("/retrieve", b" " * 20_001, 413),
        ("/access", b'{"urls": ["a", "b", "c", "d", "e", "f"]}', 413),
        ("/access", b'{"queries": ["a"]}', 422),
        ("/access", b"\xff", 400),
    ],
)
async def test_bad_request_says_why(
    client: httpx2.AsyncClient, path: str, body: bytes, status: int
) -> None:
    response = await client.post(path, content=body)
    assert response.status_code == status
    assert response.json()["detail"]


@pytest.mark.parametrize("topk", [1, "1", 1.0, "1.0", " 1 "])
async def test_spellings_of_the_number_of_results(client: httpx2.AsyncClient, topk: object) -> None:
    (found,) = await post(client, "/retrieve", {"queries": ["moon planet"], "topk": topk})
    assert len(found) == 1


@pytest.mark.parametrize("topk", [5, 1000, 10**12])
async def test_an_index_gives_what_it_has(client: httpx2.AsyncClient, topk: int) -> None:
    (found,) = await post(client, "/retrieve", {"queries": ["moon planet"], "topk": topk})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("given", "scored"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        (1, True),
        ("yes", True),
        (False, False),
        ("false", False),
        ("False", False),
        ("0", False),
        (0, False),
        ("off", False),
    ],
)
async def test_spellings_of_return_scores(
    client: httpx2.AsyncClient, given: object, scored: bool
) -> None:
    ((found,),) = await post(
        client, "/retrieve", {"queries": ["moon"], "topk": 1, "return_scores": given}
    )
    assert ("score" in found) == scored


async def test_a_long_query_is_cut_and_fails_no_batch(client: httpx2.AsyncClient) -> None:
    queries = ["moon " * 2000, "planet"]
    moons, planets = await post(client, "/retrieve", {"queries": queries, "topk": 1})
    assert (moons[0]["title"], planets[0]["title"]) == ("Io", "Mars")


async def test_halves_of_surrogate_pairs_and_unknown_fields_fail_no_batch(
    client: httpx2.AsyncClient,
) -> None:
    body = json.dumps({"queries": ["moon \ud83d"], "topk": 1, "model": "e5", "x": float("nan")})
    response = await client.post("/retrieve", content=body)
    assert response.json()["result"][0][0]["title"] == "Io"


async def test_an_empty_index_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").touch()
    folder = tmp_path / "index"
    assert build_index(None, tmp_path / "pages.jsonl", folder).passages == 0
    async with IndexSearch(folder) as search:
        assert await search.search("moon", 5) == []
    with PageStore(folder / "pages.sqlite") as pages:
        assert len(pages) == 0


async def test_health_metrics_and_openapi(client: httpx2.AsyncClient) -> None:
    await post(client, "/retrieve", {"queries": ["moon"]})
    assert (await client.get("/health")).json() == {"status": "ok", "passages": 2}
    text = (await client.get("/metrics")).text
    assert 'wideseek_requests_total{route="retrieve",status="200"} 1.0' in text
    assert "wideseek_search_batches 1.0" in text
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/retrieve", "/access", "/health"} <= set(paths)
    assert "queries" in str(paths["/retrieve"]["post"]["requestBody"])


class Search:
    """A search that finds nothing, once it is released."""

    def __init__(self, max_waiting: int, max_batch: int = 64) -> None:
        self.started, self.release = asyncio.Event(), asyncio.Event()
        self.sizes: list[int] = []
        self.peak = 0
        self.batcher: Batcher[tuple[str, int], list[Hit]] = Batcher(
            self._work, max_batch=max_batch, max_waiting=max_waiting
        )

    async def _work(self, keys: list[tuple[str, int]]) -> list[list[Hit]]:
        self.started.set()
        self.sizes.append(len(keys))
        self.peak = max(self.peak, self.batcher.waiting + len(keys))
        await self.release.wait()
        if ("bad", 5) in keys:
            raise ToolUnavailable("the index did not answer")
        return [[] for _ in keys]


@asynccontextmanager
async def served(
    index: Path, search: Search, config: ServeConfig
) -> AsyncGenerator[httpx2.AsyncClient]:
    with PageStore(index / "pages.sqlite") as pages:
        async with search.batcher:
            transport = httpx2.ASGITransport(make_app(Routes(search, pages, config), {}))
            async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
                yield client


async def test_full_queue_is_503_with_retry_after(index: Path) -> None:
    search = Search(max_waiting=2, max_batch=1)
    async with served(index, search, ServeConfig(max_waiting=2)) as client:

        def ask(query: str) -> asyncio.Task[httpx2.Response]:
            return asyncio.create_task(client.post("/retrieve", json={"queries": [query]}))

        waiting = [ask("a")]
        await search.started.wait()
        waiting += [ask("b"), ask("bad")]
        await until(lambda: search.batcher.waiting == 2)
        refused = await ask("c")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        search.release.set()
        assert [(await task).status_code for task in waiting] == [200, 200, 500]


async def test_a_batch_of_a_whole_training_step_is_taken_in_chunks(index: Path) -> None:
    search = Search(max_waiting=300)
    search.release.set()
    async with served(index, search, ServeConfig(max_waiting=300)) as client:
        bodies = [{"queries": [f"{n} {place}" for place in range(2560)]} for n in range(2)]
        answers = await asyncio.gather(*[client.post("/retrieve", json=body) for body in bodies])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([200, 200], [200, 503])
    whole = next(answer for answer in answers if answer.status_code == 200)
    assert len(whole.json()["result"]) == 2560
    assert search.peak <= 300


async def test_bytes_being_answered_are_bounded(index: Path) -> None:
    search = Search(max_waiting=100)
    async with served(index, search, ServeConfig(max_pending_bytes=1000)) as client:
        first = asyncio.create_task(client.post("/retrieve", json={"queries": ["a" * 900]}))
        await search.started.wait()
        refused = await client.post("/retrieve", json={"queries": ["b" * 200]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        search.release.set()
        assert (await first).status_code == 200


async def test_the_documentation_of_the_server_needs_no_internet(
    client: httpx2.AsyncClient,
) -> None:
    page = (await client.get("/docs")).text
    assert "POST /retrieve" in page
    assert "RetrieveAnswer" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


async def test_answers_are_as_the_schema_says(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    answers = schema["paths"]["/retrieve"]["post"]["responses"]
    assert answers["503"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    for scores in (False, True):
        body = {"queries": ["moon", ""], "return_scores": scores}
        RetrieveAnswer.model_validate((await client.post("/retrieve", json=body)).json())
    urls = {"urls": ["http://a.org/wiki/Mars", "http://a.org/none"]}
    AccessAnswer.model_validate((await client.post("/access", json=urls)).json())
    Health.model_validate((await client.get("/health")).json())
    Problem.model_validate((await client.post("/retrieve", content=b"{")).json())
