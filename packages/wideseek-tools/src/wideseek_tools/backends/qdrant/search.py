"""Search in a collection on a Qdrant server.

The same code runs on `:memory:` for tests. Collections hold the vectors `dense` and `bm25`. Sparse
vectors are made here, with the model the embedded index uses; the server adds the IDF.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from wideseek_core.config import secret
from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_core.search import Document
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.batching import Batcher
from wideseek_tools.encoders.encoder import Encoder, Vector, open_encoder
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.fusion import fuse
from wideseek_tools.index.shard import DENSE, OVERFETCH, SPARSE, lexical_model
from wideseek_tools.passages import Hit, Passage


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
        self.batcher: Batcher[tuple[str, int], list[Hit]] = Batcher(self.find, workers=4)

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
    if config.base_url == ":memory:":
        return AsyncQdrantClient(":memory:")
    key = secret(config.api_key_env) if config.api_key_env else None
    return AsyncQdrantClient(
        url=config.base_url,
        api_key=key.get_secret_value() if key else None,
        prefer_grpc=config.grpc,
        timeout=config.timeout_s,
        check_compatibility=False,  # it would block here, and the first request tells as much
    )


async def require_collection(client: AsyncQdrantClient, config: QdrantConfig) -> None:
    """Raises `ConfigError` if the server does not answer or has no such collection."""
    try:
        known = await client.collection_exists(config.collection)
    except Exception as error:  # noqa: BLE001 - errors of several HTTP and gRPC stacks
        line = f"no Qdrant at {config.base_url}: {type(error).__name__}"
        raise ConfigError(line) from None
    if not known and config.base_url != ":memory:":
        raise ConfigError(f"no collection {config.collection!r} at {config.base_url}")
