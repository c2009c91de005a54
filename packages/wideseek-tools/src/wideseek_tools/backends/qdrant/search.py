"""Search in a collection on a Qdrant server.

The same code runs on `:memory:` for tests. Collections hold the vectors `dense` and `bm25`. Sparse
vectors are made here, with the model the embedded index uses; the server adds the IDF.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from qdrant_client import AsyncQdrantClient, models

from wideseek_core.config import secret
from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_core.headers import header_value
from wideseek_core.proxies import certificates, proxy_for
from wideseek_core.search import Document
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.batching import Batcher
from wideseek_tools.encoders.encoder import Encoder, Vector, open_encoder
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.fusion import fuse
from wideseek_tools.index.shard import DENSE, OVERFETCH, lexical_model
from wideseek_tools.passages import Hit, Passage, quoted_title


class QdrantSearch:
    """Searches a collection. Use with `async with`."""

    def __init__(
        self,
        config: QdrantConfig,
        client: AsyncQdrantClient,
        *,
        encoder: Encoder | None = None,
        index: IndexConfig | None = None,
        dense_vector: str | None = None,
    ) -> None:
        """`dense_vector` is the name where the configuration leaves it open."""
        self._config, self.client = config, client
        named = dense_vector if config.dense_vector is None else config.dense_vector
        self._dense = DENSE if named is None else named
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
                [request for requests in sides for request in requests],
                timeout=self._config.timeout_s,
            )
        except Exception as error:  # errors of several HTTP and gRPC stacks
            raise ToolUnavailable(f"Qdrant did not answer: {type(error).__name__}") from error
        lists = iter([answer.points for answer in found])
        return [
            self._hits([next(lists) for _ in requests], k)
            for (_, k), requests in zip(questions, sides, strict=True)
        ]

    def _hits(self, rankings: list[list[models.ScoredPoint]], k: int) -> list[Hit]:
        if len(rankings) == 1:
            return [(self._passage(point), point.score) for point in rankings[0]]
        points = {point.id: point for ranking in rankings for point in ranking}
        ranked = [[point.id for point in ranking] for ranking in rankings]
        weights = (self._config.lexical_weight, 1.0)
        best = fuse(ranked, weights, self._config.rrf_k, k)
        return [(self._passage(points[point]), score) for point, score in best]

    def _passage(self, point: models.ScoredPoint) -> Passage:
        config, payload = self._config, point.payload or {}
        contents = _field(payload, config.contents_field)
        if not contents:
            fields = ", ".join(map(repr, payload)) or "none"
            raise ToolUnavailable(
                f"points of {config.collection!r} have no text in {config.contents_field!r};"
                f" their fields: {fields}"
            )
        return Passage(
            id=_field(payload, config.id_field) or str(point.id),
            url=_field(payload, config.url_field),
            title=_field(payload, config.title_field) or quoted_title(contents),
            contents=contents,
        )

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
            queries.append((sparse, self._config.sparse_vector))
        if vector is not None:
            queries.append((vector, self._dense))
        limit = k if len(queries) == 1 else max(20, OVERFETCH * k)
        return [
            models.QueryRequest(
                query=query,
                using=using or None,
                limit=limit,
                with_payload=True,
                params=None if isinstance(query, models.SparseVector) else self._params(),
            )
            for query, using in queries
        ]

    def _params(self) -> models.SearchParams:
        given = self._config.quantization
        return models.SearchParams(
            hnsw_ef=self._config.hnsw_ef,
            exact=self._config.exact,
            quantization=models.QuantizationSearchParams(**given.model_dump()) if given else None,
        )


def _field(payload: Mapping[str, Any], path: str) -> str:
    """A payload field as text; empty if it is missing."""
    value: Any = payload
    for name in path.split("."):
        value = cast(dict[str, Any], value).get(name) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, dict | list) else str(value)


def connect(config: QdrantConfig) -> AsyncQdrantClient:
    """A client with the key from the environment. Raises `ConfigError` for one that can't be sent.

    Proxies and certificates are those of every other client.
    """
    if config.base_url == ":memory:":
        return AsyncQdrantClient(":memory:")
    key = secret(config.api_key_env) if config.api_key_env else None
    if key is not None:
        header_value(key.get_secret_value(), config.api_key_env)
    proxy = proxy_for(config.base_url)
    context = certificates() if config.base_url.startswith("https:") else None
    network: dict[str, Any] = {"trust_env": False}  # for its HTTP client
    network |= {"proxy": proxy} if proxy else {}
    network |= {"verify": context} if context else {}
    return AsyncQdrantClient(
        url=config.base_url,
        api_key=key.get_secret_value() if key else None,
        prefer_grpc=config.grpc,
        timeout=config.timeout_s,
        check_compatibility=False,  # it would block here, and the first request tells as much
        grpc_options={"grpc.enable_http_proxy": int(proxy is not None)},
        **network,
    )


async def dense_vector_of(client: AsyncQdrantClient, config: QdrantConfig) -> str | None:
    """The name of the collection's dense vector: ours, or its only one; empty if it has no name.

    Raises `ConfigError` if the server does not answer, has no such collection, or has several
    vectors of which none is named in the configuration.
    """
    try:
        known = await client.collection_exists(config.collection)
        info = await client.get_collection(config.collection) if known else None
    except Exception as error:  # noqa: BLE001 - errors of several HTTP and gRPC stacks
        line = f"no Qdrant at {config.base_url}: {type(error).__name__}"
        raise ConfigError(line) from None
    if info is None:
        if config.base_url == ":memory:":
            return None
        raise ConfigError(f"no collection {config.collection!r} at {config.base_url}")
    vectors = info.config.params.vectors
    if config.dense_vector is not None or config.method == "bm25" or not vectors:
        return config.dense_vector
    if isinstance(vectors, models.VectorParams):
        return ""
    if DENSE in vectors or len(vectors) == 1:
        return DENSE if DENSE in vectors else next(iter(vectors))
    names = ", ".join(sorted(vectors))
    raise ConfigError(f"search.dense_vector: collection {config.collection!r} has {names}")
