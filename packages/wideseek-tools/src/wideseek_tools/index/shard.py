"""The embedded Qdrant shard: everything that speaks qdrant-edge's own types.

Shards are made without a write-ahead log. Its lock would keep a second process from opening the
index; without it any number may read. Durability comes from `flush` and the build's checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import qdrant_edge as edge

from wideseek_core.errors import CorruptFile
from wideseek_tools.config import Method
from wideseek_tools.encoders.encoder import Vector
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.fusion import fuse
from wideseek_tools.passages import Passage

if TYPE_CHECKING:
    from qdrant_edge import NamedVector  # a name of the stub only

SPARSE, DENSE = "bm25", "dense"
REMEMBERED = 20_000
"""Passages kept in memory."""
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


@dataclass(frozen=True, slots=True)
class Question:
    """One query, ready to run."""

    text: str
    k: int
    vector: Vector | None = None


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


class ShardReader:
    """Runs questions against a shard, and remembers the passages it read last.

    Reading a passage costs several times what finding it does, and agents find the same ones again
    and again. For one thread at a time.
    """

    def __init__(self, shard: edge.EdgeShard, lexical: edge.Bm25, ranking: Ranking) -> None:
        self._shard, self._lexical, self._ranking = shard, lexical, ranking
        self._known: dict[int, Passage] = {}

    def find(self, questions: Sequence[Question]) -> list[list[Passage]]:
        """The passages of each question, best first."""
        sides = [_sides(question, self._ranking, self._lexical) for question in questions]
        requests = [one for each in sides for one in each]
        found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        passages = self._passages({_point_id(hit) for hits in found for hit in hits})
        # Equal scores come in one order, however the shard's segments lie.
        ranked = [sorted((-hit.score, _point_id(hit)) for hit in hits) for hits in found]
        lists = iter([[passages[one].scored(-worse) for worse, one in hits] for hits in ranked])
        weights = (self._ranking.lexical_weight, 1.0)
        answers: list[list[Passage]] = []
        for question, each in zip(questions, sides, strict=True):
            own = [next(lists) for _ in each]
            one = own[0] if len(own) == 1 else fuse(own, weights, self._ranking.rrf_k, question.k)
            answers.append(one)
        return answers

    def _passages(self, wanted: set[int]) -> dict[int, Passage]:
        found = {one: self._known[one] for one in wanted if one in self._known}
        missing = [one for one in wanted if one not in found]
        if missing:
            for record in self._shard.retrieve([*missing], True, False):
                found[int(record.id)] = _passage(record.payload or {})
        for one in missing:
            self._known[one] = found[one]
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return found


def _point_id(hit: edge.ScoredPoint) -> int:
    return cast(int, hit.id)  # ids are row numbers, never UUIDs


def _sides(
    question: Question, ranking: Ranking, lexical: edge.Bm25 | None
) -> list[edge.QueryRequest]:
    """The lexical query, the dense one, or both, in this order."""
    queries: list[edge.Query] = []
    if lexical is not None and ranking.method != "dense":
        queries.append(edge.Query.Nearest(lexical.embed_query(question.text), using=SPARSE))
    if question.vector is not None:
        queries.append(edge.Query.Nearest(question.vector, using=DENSE))
    limit = question.k if len(queries) == 1 else max(20, OVERFETCH * question.k)
    params = edge.SearchParams(hnsw_ef=ranking.hnsw_ef)
    return [edge.QueryRequest(limit=limit, query=query, params=params) for query in queries]


def _passage(fields: Mapping[str, object]) -> Passage:
    return Passage(
        id=str(fields["id"]),
        url=str(fields["url"]),
        title=str(fields["title"]),
        contents=str(fields["contents"]),
    )
