"""Ranks an index's points for many questions at once."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, cast

import qdrant_edge as edge

from wideseek_core.errors import ToolUnavailable
from wideseek_tools.encoders.encoder import Encoder, Vector
from wideseek_tools.index.fusion import fuse
from wideseek_tools.index.shard import DENSE, OVERFETCH, SPARSE, Ranking

MAX_CACHED_VECTORS = 4096
"""Query vectors kept."""

Question = tuple[str, int]
"""A text and how many hits it wants."""
Ranked = list[tuple[int, float]]
"""Points and scores, best first."""


class Ranks(Protocol):
    """Ranks in this process or in others."""

    async def rank(self, questions: list[Question]) -> list[Ranked]:
        """The ranking of each question. Raises `ToolUnavailable`."""
        ...


class Ranker:
    """Encodes and runs questions as one batch. Blocking, and for one thread at a time."""

    def __init__(
        self,
        shard: edge.EdgeShard,
        lexical: edge.Bm25,
        ranking: Ranking,
        encoder: Encoder | None = None,
    ) -> None:
        self._shard, self._lexical, self._ranking = shard, lexical, ranking
        self._encoder = encoder if ranking.method != "bm25" else None
        self._params = edge.SearchParams(hnsw_ef=ranking.hnsw_ef)
        self._vectors: OrderedDict[str, Vector] = OrderedDict()

    def rank(self, questions: Sequence[Question]) -> list[Ranked]:
        """The points of each question, best first. Raises `ToolUnavailable`."""
        vectors = self._encode([text for text, _ in questions])
        sides = [
            self._sides(text, k, vector)
            for (text, k), vector in zip(questions, vectors, strict=True)
        ]
        try:
            requests = [request for side in sides for request in side]
            found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        except Exception as error:  # the bindings raise bare Exceptions of many kinds
            raise ToolUnavailable(f"the index did not answer: {error}") from error
        lists = iter(map(_ranked, found))
        return [
            next(lists) if len(side) == 1 else self._fused([next(lists) for _ in side], k)
            for (_, k), side in zip(questions, sides, strict=True)
        ]

    def _fused(self, rankings: list[Ranked], k: int) -> Ranked:
        weights = (self._ranking.lexical_weight, 1.0)
        points = [[point for point, _ in ranking] for ranking in rankings]
        return fuse(points, weights, self._ranking.rrf_k, k)

    def _sides(self, text: str, k: int, vector: Vector | None) -> list[edge.QueryRequest]:
        """The lexical query, the dense one, or both, in this order."""
        queries: list[edge.Query] = []
        if self._ranking.method != "dense":
            queries.append(edge.Query.Nearest(self._lexical.embed_query(text), using=SPARSE))
        if vector is not None:
            queries.append(edge.Query.Nearest(vector, using=DENSE))
        limit = k if len(queries) == 1 else max(20, OVERFETCH * k)
        return [
            edge.QueryRequest(limit=limit, query=query, params=self._params) for query in queries
        ]

    def _encode(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        if self._encoder is None:
            return [None] * len(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder.encode(new, queries=True), strict=True))
        found = [self._vectors[text] for text in texts]
        for text in texts:
            self._vectors.move_to_end(text)
        while len(self._vectors) > MAX_CACHED_VECTORS:
            self._vectors.popitem(last=False)
        return found


def _ranked(hits: Sequence[edge.ScoredPoint]) -> Ranked:
    # Ids are row numbers, never UUIDs. Equal scores come in one order, however the segments lie.
    ordered = sorted([(-hit.score, cast(int, hit.id)) for hit in hits])
    return [(point, -negative) for negative, point in ordered]
