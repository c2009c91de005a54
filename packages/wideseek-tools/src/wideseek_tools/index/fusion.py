"""Reciprocal rank fusion of two rankings."""

from collections.abc import Sequence

from wideseek_tools.passages import Passage


def fuse(
    rankings: Sequence[Sequence[Passage]], weights: Sequence[float], rrf_k: int, k: int
) -> list[Passage]:
    """The best `k` by score(d) = sum_i w_i / (rrf_k + rank_i(d)), ranks from 1 (Cormack 2009).

    The weights are ours: Qdrant's own scale ranks rather than scores, by which a heavier side may
    lose influence.
    """
    scores: dict[tuple[str, str], float] = {}
    known: dict[tuple[str, str], Passage] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, passage in enumerate(ranking, 1):
            key = (passage.id, passage.url)
            known.setdefault(key, passage)
            scores[key] = scores.get(key, 0.0) + weight / (rrf_k + rank)
    best = sorted(scores, key=lambda key: -scores[key])[:k]
    return [known[key].scored(scores[key]) for key in best]
