"""The embedded Qdrant shard: everything that speaks qdrant-edge's own types.

Shards are made without a write-ahead log. Its lock would keep a second process from opening the
index; without it any number may read. Durability comes from `flush` and the build's checkpoints.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import qdrant_edge as edge

from wideseek_core.errors import CorruptFile
from wideseek_core.files import locked
from wideseek_tools.encoders.encoder import Vector
from wideseek_tools.index.config import IndexConfig, Method
from wideseek_tools.passages import Passage

if TYPE_CHECKING:
    from qdrant_edge import NamedVector  # a name of the stub only

SPARSE, DENSE = "bm25", "dense"
OVERFETCH = 4
"""How many times more candidates than results each side of a hybrid query gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a search ranks."""

    method: Method = "bm25"
    hnsw_ef: int = 256
    rrf_k: int = 60
    lexical_weight: float = 2.0
    """Of BM25 against dense in reciprocal rank fusion."""


def lexical_model(config: IndexConfig, mean_words: float) -> edge.Bm25:
    """BM25 with the corpus's own mean length."""
    none = config.language == "none"
    kind = edge.TokenizerType
    return edge.Bm25(
        edge.Bm25Config(
            avg_len=max(1.0, mean_words),
            tokenizer=kind.Multilingual if config.tokenizer == "multilingual" else kind.Word,
            language=None if none else config.language,
            stemmer=edge.DisabledStemmer() if none else None,
            stopwords=edge.StopwordsSet() if none else None,
            ascii_folding=True,
        )
    )


def create_shard(folder: Path, config: IndexConfig, dimension: int) -> edge.EdgeShard:
    """An empty shard for the vectors that `config` wants."""
    folder.mkdir(parents=True)
    sparse = {SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)}
    dense = {
        DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine, on_disk=True)
    }
    return edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors=None if config.method == "bm25" else dense,
            sparse_vectors=None if config.method == "dense" else sparse,
            hnsw_config=edge.HnswIndexConfig(
                m=config.hnsw_m, ef_construct=config.hnsw_ef_construct, full_scan_threshold=1000
            ),
            quantization_config=_quantization(config),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
            wal_enabled=False,
        ),
    )


def _quantization(
    config: IndexConfig,
) -> edge.ScalarQuantizationConfig | edge.BinaryQuantizationConfig | None:
    if config.method == "bm25" or config.quantization == "none":
        return None
    if config.quantization == "binary":
        return edge.BinaryQuantizationConfig(always_ram=True)
    return edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99, always_ram=True)


def load_shard(folder: Path) -> edge.EdgeShard:
    """An existing shard. Raises `CorruptFile`."""
    try:
        return edge.EdgeShard.load(str(folder))
    except Exception as error:  # noqa: BLE001 - the bindings raise bare Exceptions of many kinds
        raise CorruptFile(f"{folder}: the shard can't be opened: {error}") from None


def open_shard(folder: Path) -> edge.EdgeShard:
    """`load_shard` for readers: it touches small files, so one process at a time may do it."""
    with locked(folder.parent / ".open.lock"):
        return load_shard(folder)


def point(
    identity: int, passage: Passage, lexical: edge.Bm25 | None, vector: Vector | None
) -> edge.Point:
    """A passage as a point with its vectors and its fields as payload."""
    vectors: dict[str, NamedVector] = {}
    if lexical is not None:
        vectors[SPARSE] = lexical.embed_document(passage.searchable)
    if vector is not None:
        vectors[DENSE] = vector
    payload = {
        "id": passage.id,
        "url": passage.url,
        "title": passage.title,
        "contents": passage.contents,
    }
    return edge.Point(identity, vectors, payload)
