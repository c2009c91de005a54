from collections.abc import Sequence
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from wideseek_core.config import environment
from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.backends.qdrant.collection import create_collection, finish_loading, load
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.backends.qdrant.filling import Target, fill_collection
from wideseek_tools.backends.qdrant.search import QdrantSearch
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
    await finish_loading(client, "moons", poll_s=0.01, timeout_s=5.0)
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


@pytest.mark.qdrant_server
async def test_server_finds_what_was_loaded() -> None:
    url = environment("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    from wideseek_tools.backends.qdrant.search import connect

    config = QdrantConfig(base_url=url, collection="wideseek-test", method="hybrid", grpc=False)
    client, index = connect(config), IndexConfig(method="hybrid")
    await client.delete_collection("wideseek-test")
    await create_collection(client, "wideseek-test", index, 3)
    await load(client, "wideseek-test", PASSAGES, index, mean_words=5.0, encoder=Letters())
    await finish_loading(client, "wideseek-test", poll_s=0.1, timeout_s=60.0)
    async with QdrantSearch(config, client, encoder=Letters()) as search:
        assert (await search.hits("volcanoes", 3))[0][0].id == "p1"
