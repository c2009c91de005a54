"""The Qdrant adapter against a stub of the REST routes it uses."""

import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Reply, Request, Stub, reply

from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.backends.memory import MemoryPagesConfig
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.backends.qdrant.filling import Target, fill_collection
from wideseek_tools.index.config import IndexConfig


class Collections:
    """One collection in a dictionary; indexing takes one look."""

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.updates: list[dict[str, Any]] = []
        self.points: dict[int, dict[str, Any]] = {}
        self.indexing = 1
        self.headers: dict[str, str] = {}

    def __call__(self, request: Request) -> Reply:
        self.headers = request.headers
        route = (request.method, request.path.removeprefix("/collections/c"))
        body: Any = json.loads(request.body) if request.body else None
        result: object = True
        if route == ("GET", "/exists"):
            result = {"exists": bool(self.created)}
        elif route == ("PUT", ""):
            self.created = body
        elif route == ("PATCH", ""):
            self.updates.append(body)
        elif route == ("GET", ""):
            self.indexing -= 1
            result = self._info("yellow" if self.indexing >= 0 else "green")
        elif route == ("PUT", "/points"):
            self.points |= {point["id"]: point for point in body["points"]}
            result = {"operation_id": 1, "status": "completed"}
        elif route == ("POST", "/points/count"):
            result = {"count": len(self.points)}
        elif route == ("POST", "/points/query/batch"):
            result = [{"points": self._best(one)} for one in body["searches"]]
        else:
            return reply({"status": {"error": "no such route"}}, 404)
        return reply({"result": result, "status": "ok", "time": 0.0})

    def _info(self, status: str) -> dict[str, Any]:
        params = {key: value for key, value in self.created.items() if key.endswith("vectors")}
        hnsw = {"m": 32, "ef_construct": 512, "full_scan_threshold": 10}
        optimizer = {
            "deleted_threshold": 0.2, "vacuum_min_vector_number": 1,
            "default_segment_number": 1, "flush_interval_sec": 5,
        }  # fmt: skip
        config = {"params": params, "hnsw_config": hnsw, "optimizer_config": optimizer}
        return {
            "status": status, "optimizer_status": "ok", "segments_count": 1,
            "points_count": len(self.points), "config": config, "payload_schema": {},
        }  # fmt: skip

    def _best(self, search: dict[str, Any]) -> list[dict[str, Any]]:
        query = search["query"].get("nearest", search["query"])
        asked = dict(zip(query["indices"], query["values"], strict=True))
        found: list[dict[str, Any]] = []
        for point in self.points.values():
            sparse = point["vector"][search["using"]]
            pairs = zip(sparse["indices"], sparse["values"], strict=True)
            score = sum(asked.get(index, 0.0) * value for index, value in pairs)
            hit = {"id": point["id"], "version": 0, "score": score, "payload": point["payload"]}
            found += [hit] if score else []
        return sorted(found, key=lambda hit: -hit["score"])[: search["limit"]]


@pytest.fixture
def server(stub: Stub) -> Collections:
    found = Collections()
    stub.handler = found
    return found


def pages_file(folder: Path) -> Path:
    path = folder / "pages.jsonl"
    rows = [
        {"url": f"http://a.org/{name}", "title": name, "contents": text}
        for name, text in (("Io", "volcanoes"), ("Triton", "Neptune"), ("Mars", "a planet"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def nothing(stage: str, done: int, total: int) -> None:
    pass


async def fill(stub: Stub, folder: Path, index: IndexConfig) -> int:
    target = Target(base_url=stub.url, collection="c", store=folder / "pages.sqlite", grpc=False)
    return await fill_collection(None, pages_file(folder), target, index, nothing)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
async def test_collection_is_made_filled_indexed_and_searched(
    server: Collections, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "geheim")
    assert await fill(stub, tmp_path, IndexConfig(batch=2)) == 3
    assert server.headers["api-key"] == "geheim"
    assert server.indexing == -1  # it looked until the collection was green
    assert server.created["optimizers_config"]["indexing_threshold"] == 1_000_000_000
    assert server.updates[0]["optimizers_config"]["indexing_threshold"] == 10_000
    assert server.created["sparse_vectors"]["bm25"] == {
        "index": {"on_disk": True},
        "modifier": "idf",
    }
    config = ToolsConfig(
        search=QdrantConfig(base_url=stub.url, collection="c", method="bm25", grpc=False),
        pages=MemoryPagesConfig(path=tmp_path / "pages.jsonl"),
    )
    async with open_tools(config) as tools:
        found = await tools.search.search("volcanoes", 3)
        assert [(one.title, one.text) for one in found] == [("Io", "volcanoes")]


async def test_dense_vectors_lie_on_disk_and_int8_in_memory(stub: Stub) -> None:
    from wideseek_tools.backends.qdrant.collection import create_collection
    from wideseek_tools.backends.qdrant.search import connect

    server = Collections()
    stub.handler = server
    client = connect(QdrantConfig(base_url=stub.url, collection="c", grpc=False))
    index = IndexConfig(method="dense", hnsw_m=16, hnsw_ef_construct=100)
    await create_collection(client, "c", index, 384)
    await client.close()
    dense = server.created["vectors"]["dense"]
    assert (dense["size"], dense["distance"], dense["on_disk"]) == (384, "Cosine", True)
    assert server.created["hnsw_config"] == {"m": 16, "ef_construct": 100}
    scalar = server.created["quantization_config"]["scalar"]
    assert (scalar["type"], scalar["always_ram"]) == ("int8", True)


async def test_load_resumes_behind_the_points_that_are_there(
    server: Collections, stub: Stub, tmp_path: Path
) -> None:
    await fill(stub, tmp_path, IndexConfig(batch=2))
    whole = dict(server.points)
    del server.points[2]
    sent = len(stub.requests)
    assert await fill(stub, tmp_path, IndexConfig(batch=2)) == 3
    assert server.points == whole
    loads = [one for one in stub.requests[sent:] if one.path.endswith("/points")]
    assert [len(json.loads(one.body)["points"]) for one in loads] == [1]


async def test_failing_server_is_unavailable_and_a_missing_collection_named(
    server: Collections, stub: Stub, tmp_path: Path
) -> None:
    search = QdrantConfig(base_url=stub.url, collection="c", method="bm25", grpc=False)
    config = ToolsConfig(search=search, pages=MemoryPagesConfig(path=pages_file(tmp_path)))
    with pytest.raises(ConfigError, match="no collection 'c'"):
        async with open_tools(config):
            pass
    await fill(stub, tmp_path, IndexConfig())
    async with open_tools(config) as tools:
        stub.handler = lambda request: reply({"status": {"error": "full"}}, 500)
        with pytest.raises(ToolUnavailable, match="Qdrant did not answer"):
            await tools.search.search("volcanoes", 3)
