"""Reciprocal rank fusion of two rankings."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def fuse(
    rankings: Sequence[Sequence[K]], weights: Sequence[float], rrf_k: int, k: int
) -> list[tuple[K, float]]:
    """The best `k` by score(d) = sum_i w_i / (rrf_k + rank_i(d)), ranks from 1 (Cormack 2009).

    Qdrant's own fusion weighs ranks rather than scores, by which a heavier side may lose influence.
    """
    scores: dict[K, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + weight / (rrf_k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])[:k]
