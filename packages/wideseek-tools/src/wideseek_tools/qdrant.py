"""Search in a collection on a Qdrant server, and loading one.

The same code runs on `:memory:` for tests. Collections hold the vectors `dense` and `bm25`. Sparse
vectors are made here, with the model the embedded index uses; the server adds the IDF.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from types import TracebackType
from typing import Self

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from wideseek_core.config import secret
from wideseek_core.errors import ConfigError, DataError, ToolUnavailable
from wideseek_core.search import Document
from wideseek_tools.batching import Batcher
from wideseek_tools.config import QdrantConfig
from wideseek_tools.encoders.encoder import Encoder, Vector, open_encoder
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.fusion import fuse
from wideseek_tools.index.shard import DENSE, OVERFETCH, SPARSE, lexical_model
from wideseek_tools.passages import Hit, Passage

VARIABLE = "QDRANT_API_KEY"
NOT_YET = 1_000_000_000
"""An indexing threshold (kB) that keeps the server from indexing during a bulk load."""
THRESHOLD = 10_000


class QdrantSearch:
    """Searches a collection. Use with `async with`."""

    def __init__(
        self,
        config: QdrantConfig,
        client: AsyncQdrantClient,
        *,
        encoder: Encoder | None = None,
        index: IndexConfig | None = None,
    ) -> None:
        self._config, self.client = config, client
        if config.method != "bm25" and encoder is None:
            encoder = open_encoder(config.encoder)
        self._encoder = encoder
        # The mean length matters for documents only, not for queries.
        self._lexical = lexical_model(index or IndexConfig(), 1.0)
        self.batcher: Batcher[tuple[str, int], list[Hit]] = Batcher(self.find, lanes=4)

    async def __aenter__(self) -> Self:
        await self.batcher.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.batcher.__aexit__(kind, error, trace)
        await self.client.close()

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolUnavailable`."""
        return [passage.document(score) for passage, score in await self.hits(query, k)]

    async def hits(self, query: str, k: int) -> list[Hit]:
        """`search` with ids and whole contents."""
        if k < 1 or not query.strip():
            return []
        return await self.batcher.submit((query, k))

    async def find(self, questions: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        """Many searches in one request."""
        vectors = await self._vectors([text for text, _ in questions])
        sides = [
            self._sides(text, k, vector)
            for (text, k), vector in zip(questions, vectors, strict=True)
        ]
        try:
            found = await self.client.query_batch_points(
                self._config.collection,
                [one for each in sides for one in each],
                timeout=self._config.timeout_s,
            )
        except (ApiException, OSError, ValueError) as error:
            raise ToolUnavailable(f"Qdrant did not answer: {type(error).__name__}") from error
        lists = iter([answer.points for answer in found])
        return [
            self._hits([next(lists) for _ in each], k)
            for (_, k), each in zip(questions, sides, strict=True)
        ]

    def _hits(self, rankings: list[list[models.ScoredPoint]], k: int) -> list[Hit]:
        if len(rankings) == 1:
            return [(_passage(point), point.score) for point in rankings[0]]
        points = {point.id: point for each in rankings for point in each}
        ranked = [[point.id for point in each] for each in rankings]
        weights = (self._config.lexical_weight, 1.0)
        best = fuse(ranked, weights, self._config.rrf_k, k)
        return [(_passage(points[one]), score) for one, score in best]

    async def _vectors(self, texts: list[str]) -> Sequence[Vector | None]:
        if self._encoder is None or self._config.method == "bm25":
            return [None] * len(texts)
        return await asyncio.to_thread(self._encoder.encode, texts, queries=True)

    def _sides(self, text: str, k: int, vector: Vector | None) -> list[models.QueryRequest]:
        """The lexical query, the dense one, or both, in this order."""
        queries: list[tuple[models.SparseVector | Vector, str]] = []
        if self._config.method != "dense":
            found = self._lexical.embed_query(text)
            sparse = models.SparseVector(indices=found.indices, values=found.values)
            queries.append((sparse, SPARSE))
        if vector is not None:
            queries.append((vector, DENSE))
        limit = k if len(queries) == 1 else max(20, OVERFETCH * k)
        params = models.SearchParams(hnsw_ef=self._config.hnsw_ef)
        return [
            models.QueryRequest(
                query=query,
                using=using,
                limit=limit,
                with_payload=True,
                params=params if using == DENSE else None,
            )
            for query, using in queries
        ]


def _passage(point: models.ScoredPoint) -> Passage:
    fields = point.payload or {}
    contents = fields.get("contents")
    if not isinstance(contents, str):
        raise ToolUnavailable("the collection's points have no 'contents'; is it the right one?")
    return Passage(
        id=str(fields.get("id", point.id)),
        url=str(fields.get("url", "")),
        title=str(fields.get("title", "")),
        contents=contents,
    )


def connect(config: QdrantConfig) -> AsyncQdrantClient:
    """A client with the key from the environment."""
    if config.url == ":memory:":
        return AsyncQdrantClient(":memory:")
    key = secret(VARIABLE)
    return AsyncQdrantClient(
        url=config.url,
        api_key=key.get_secret_value() if key else None,
        prefer_grpc=config.grpc,
        timeout=config.timeout_s,
        check_compatibility=False,  # it would block here, and the first request tells as much
    )


async def open_qdrant(config: QdrantConfig, stack: AsyncExitStack) -> QdrantSearch:
    """The search, to be closed by `stack`. Raises `ConfigError` if the collection is not there."""
    search = await stack.enter_async_context(QdrantSearch(config, connect(config)))
    try:
        known = await search.client.collection_exists(config.collection)
    except Exception as error:  # noqa: BLE001 - errors of several HTTP and gRPC stacks
        line = f"no Qdrant at {config.url}: {type(error).__name__}"
        raise ConfigError(line) from None
    if not known and config.url != ":memory:":
        raise ConfigError(f"no collection {config.collection!r} at {config.url}")
    return search


async def create_collection(
    client: AsyncQdrantClient, name: str, index: IndexConfig, dimension: int
) -> None:
    """An empty collection, safe for tens of millions of passages.

    Vectors lie on disk, quantised ones in memory, and nothing is indexed before `finish_loading`.
    """
    dense = models.VectorParams(size=dimension, distance=models.Distance.COSINE, on_disk=True)
    sparse = models.SparseVectorParams(
        modifier=models.Modifier.IDF, index=models.SparseIndexParams(on_disk=True)
    )
    await client.create_collection(
        name,
        vectors_config={} if index.method == "bm25" else {DENSE: dense},
        sparse_vectors_config=None if index.method == "dense" else {SPARSE: sparse},
        hnsw_config=models.HnswConfigDiff(m=index.hnsw_m, ef_construct=index.hnsw_ef_construct),
        quantization_config=_quantization(index),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=NOT_YET),
        on_disk_payload=True,
    )


def _quantization(
    index: IndexConfig,
) -> models.ScalarQuantization | models.BinaryQuantization | None:
    if index.method == "bm25" or index.quantization == "none":
        return None
    if index.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    scalar = models.ScalarQuantizationConfig(
        type=models.ScalarType.INT8, quantile=0.99, always_ram=True
    )
    return models.ScalarQuantization(scalar=scalar)


async def load(
    client: AsyncQdrantClient,
    name: str,
    passages: Iterable[Passage],
    index: IndexConfig,
    *,
    mean_words: float,
    encoder: Encoder | None = None,
    first: int = 0,
) -> int:
    """Writes passages as points `first`, `first` + 1, ...; returns the id after the last.

    Ids are row numbers, so that a repeated load writes the same points again.
    """
    lexical = lexical_model(index, mean_words)
    for batch in _batches(passages, index.batch):
        texts = [passage.searchable for passage in batch]
        vectors: list[Vector] = []
        if encoder is not None:
            vectors = await asyncio.to_thread(encoder.encode, texts, queries=False)
        points: list[models.PointStruct] = []
        for place, passage in enumerate(batch):
            vector: dict[str, models.Vector] = {}
            if index.method != "dense":
                found = lexical.embed_document(texts[place])
                vector[SPARSE] = models.SparseVector(indices=found.indices, values=found.values)
            if vectors:
                vector[DENSE] = vectors[place]
            payload = {
                "id": passage.id,
                "url": passage.url,
                "title": passage.title,
                "contents": passage.contents,
            }
            points.append(models.PointStruct(id=first + place, vector=vector, payload=payload))
        await client.upsert(name, points, wait=True)
        first += len(batch)
    return first


def _batches(passages: Iterable[Passage], size: int) -> Iterator[list[Passage]]:
    source = iter(passages)
    while batch := list(islice(source, size)):
        yield batch


async def finish_loading(
    client: AsyncQdrantClient, name: str, *, poll_s: float = 2.0, timeout_s: float = 86_400.0
) -> None:
    """Lets the server index, and waits until it is done. Raises `DataError`, `ToolUnavailable`."""
    threshold = models.OptimizersConfigDiff(indexing_threshold=THRESHOLD)
    await client.update_collection(name, optimizers_config=threshold)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                info = await client.get_collection(name)
                if info.status == models.CollectionStatus.GREEN:
                    return
                if info.status == models.CollectionStatus.RED:
                    raise DataError(f"collection {name!r} failed to index: {info.optimizer_status}")
                await asyncio.sleep(poll_s)
    except TimeoutError:
        line = f"collection {name!r} was not indexed within {timeout_s:g} s"
        raise ToolUnavailable(line) from None
