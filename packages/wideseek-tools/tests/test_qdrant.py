from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from wideseek_core.config import environment
from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.backends.qdrant.collection import create_collection, finish_loading, load
from wideseek_tools.backends.qdrant.config import QdrantConfig, SearchQuantization
from wideseek_tools.backends.qdrant.filling import Target, fill_collection
from wideseek_tools.backends.qdrant.search import QdrantSearch, connect, dense_vector_of
from wideseek_tools.index.config import IndexConfig, Method
from wideseek_tools.passages import Passage

TEXTS = {"Triton": "a moon of Neptune", "Io": "a moon with volcanoes", "Mars": "a red planet"}
PASSAGES = [
    Passage(id=f"p{n}", url=f"http://a.org/{title}", title=title, contents=f'"{title}"\n{text}')
    for n, (title, text) in enumerate(TEXTS.items())
]


class Letters:
    """Counts three words: enough of an encoder to tell the passages apart."""

    size = 3

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[list[float]]:
        words = ("neptune", "volcanoes", "planet")
        return [[text.lower().count(word) + 0.1 for word in words] for text in texts]


async def filled(method: Method) -> QdrantSearch:
    client, index = AsyncQdrantClient(":memory:"), IndexConfig(method=method, batch=2)
    encoder = Letters() if method != "bm25" else None
    await create_collection(client, "moons", index, 3)
    end = await load(client, "moons", PASSAGES, index, mean_words=5.0, encoder=encoder)
    assert end == 3
    await finish_loading(client, "moons", poll_s=0.01, timeout_s=300.0)
    config = QdrantConfig(base_url=":memory:", collection="moons", method=method)
    return QdrantSearch(config, client, encoder=encoder)


@pytest.mark.filterwarnings("ignore")  # the in-memory client warns about what it leaves out
@pytest.mark.parametrize("method", ["bm25", "dense", "hybrid"])
async def test_best_passage_comes_first(method: Method) -> None:
    async with await filled(method) as search:
        found = (await search.hits("volcanoes", 3))[0][0]
        assert (found.id, found.url) == ("p1", "http://a.org/Io")
        assert (await search.search("planet", 1))[0].text == "a red planet"
        assert await search.search(" ", 3) == []


POINTS = {
    "wiki": {"contents": '"Io"\na moon with volcanoes', "url": "http://a.org/Io"},
    "langchain": {
        "page_content": "a moon",
        "metadata": {"source": "http://a.org/Io", "name": "Io"},
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("vectors", ["unnamed", "text", "dense"])
async def test_a_collection_of_another_maker_is_read(vectors: str) -> None:
    client = AsyncQdrantClient(":memory:")
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    given = params if vectors == "unnamed" else {vectors: params}
    await client.create_collection("wiki", vectors_config=given)
    for number, text in enumerate(("neptune", "volcanoes")):
        (vector,) = Letters().encode([text], queries=False)
        named: Any = vector if vectors == "unnamed" else {vectors: vector}
        payload = {"contents": f'"{text}"\na moon', "url": "http://a.org/Io"}
        point = models.PointStruct(id=number, vector=named, payload=payload)
        await client.upsert("wiki", [point])
    config = QdrantConfig(
        base_url=":memory:",
        collection="wiki",
        hnsw_ef=64,
        exact=True,
        quantization=SearchQuantization(rescore=True, oversampling=2.0),
    )
    name = await dense_vector_of(client, config)
    async with QdrantSearch(config, client, encoder=Letters(), dense_vector=name) as search:
        (passage, score), _ = await search.hits("volcanoes", 3)
    assert (passage.id, passage.title, passage.url) == ("1", "volcanoes", "http://a.org/Io")
    assert passage.document().text == "a moon"
    assert score > 0.9


@pytest.mark.filterwarnings("ignore")
async def test_payload_fields_are_named_in_the_configuration() -> None:
    client = AsyncQdrantClient(":memory:")
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    await client.create_collection("c", vectors_config=params)
    payload = {"page_content": "a moon", "metadata": {"source": "http://a.org/Io", "name": "Io"}}
    point = models.PointStruct(id=7, vector=[1.0, 1.0, 1.0], payload=payload)
    await client.upsert("c", [point])
    config = QdrantConfig(base_url=":memory:", collection="c", dense_vector="")
    search = QdrantSearch(config, client, encoder=Letters())
    async with search.batcher:
        with pytest.raises(ToolUnavailable, match="no text in 'contents'; their fields: 'page_"):
            await search.search("moon", 3)
    fields = {
        "contents_field": "page_content",
        "title_field": "metadata.name",
        "url_field": "metadata.source",
    }
    async with QdrantSearch(config.model_copy(update=fields), client, encoder=Letters()) as search:
        (document,) = await search.search("moon", 3)
    assert (document.title, document.url, document.text) == ("Io", "http://a.org/Io", "a moon")


@pytest.mark.filterwarnings("ignore")
async def test_several_vectors_have_to_be_named() -> None:
    client = AsyncQdrantClient(":memory:")
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    await client.create_collection("c", vectors_config={"title": params, "body": params})
    config = QdrantConfig(base_url=":memory:", collection="c")
    with pytest.raises(ConfigError, match=r"search\.dense_vector: collection 'c' has body, title"):
        await dense_vector_of(client, config)
    named = config.model_copy(update={"dense_vector": "body"})
    assert await dense_vector_of(client, named) == "body"


def test_a_bad_key_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "one\ntwo")
    with pytest.raises(ConfigError, match="QDRANT_API_KEY holds a line break"):
        connect(QdrantConfig())


@pytest.mark.filterwarnings("ignore")
async def test_missing_collection_is_unavailable() -> None:
    config = QdrantConfig(base_url=":memory:", method="bm25")
    async with QdrantSearch(config, AsyncQdrantClient(":memory:")) as search:
        with pytest.raises(ToolUnavailable, match="Qdrant"):
            await search.search("moon", 3)


async def test_unreachable_server_is_one_line() -> None:
    config = ToolsConfig(
        search=QdrantConfig(base_url="http://127.0.0.1:9", method="bm25", grpc=False)
    )
    with pytest.raises(ConfigError, match=r"no Qdrant at http://127\.0\.0\.1:9"):
        async with open_tools(config):
            pass


@pytest.mark.filterwarnings("ignore")
async def test_load_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pages = tmp_path / "pages.jsonl"
    pages.write_text(
        "".join(f'{{"url": "http://a.org/{n}", "contents": "moon {n}"}}\n' for n in range(10))
        + '{"url": "HTTP://a.org:80/%39", "contents": "the page of 9 again"}\n'
    )
    client, index = AsyncQdrantClient(":memory:"), IndexConfig(batch=3)
    await create_collection(client, "c", index, 1)
    await load(client, "c", PASSAGES, index, mean_words=3.0)
    target = Target(base_url=":memory:", collection="c", store=tmp_path / "pages.sqlite")
    done: list[int] = []

    def step(stage: str, count: int, total: int) -> None:
        if stage == "loading passages":
            done.append(count)

    assert await fill_collection(None, pages, target, index, step, client) == 10
    assert done == [3, *[1] * 7]


@pytest.mark.filterwarnings("ignore")
async def test_a_passage_that_is_given_again_is_loaded_once(tmp_path: Path) -> None:
    line = '{"url": "http://a.org/9", "contents": "moon"}\n'
    (tmp_path / "pages.jsonl").write_text(line)
    (tmp_path / "corpus.jsonl").write_text(line * 2 + line.replace("moon", "sun") + line)
    client, index = AsyncQdrantClient(":memory:"), IndexConfig()
    target = Target(base_url=":memory:", collection="c", store=tmp_path / "pages.sqlite")
    corpus, pages = tmp_path / "corpus.jsonl", tmp_path / "pages.jsonl"

    def step(stage: str, count: int, total: int) -> None:
        """Nobody looks."""

    assert await fill_collection(corpus, pages, target, index, step, client) == 2


@pytest.mark.qdrant_server
async def test_server_finds_what_was_loaded() -> None:
    url = environment("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    config = QdrantConfig(base_url=url, collection="wideseek-test", method="hybrid", grpc=False)
    client, index = connect(config), IndexConfig(method="hybrid")
    await client.delete_collection("wideseek-test")
    await create_collection(client, "wideseek-test", index, 3)
    await load(client, "wideseek-test", PASSAGES, index, mean_words=5.0, encoder=Letters())
    await finish_loading(client, "wideseek-test", poll_s=0.1, timeout_s=300.0)
    async with QdrantSearch(config, client, encoder=Letters()) as search:
        assert (await search.hits("volcanoes", 3))[0][0].id == "p1"
