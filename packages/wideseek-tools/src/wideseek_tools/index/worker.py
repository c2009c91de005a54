"""The process that ranks batches of questions.

It runs apart because qdrant-edge holds Python's lock while it searches: a server that searched in
its own process could do nothing else meanwhile, and would use one core.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdrant_edge import EdgeShard

from wideseek_core.helper import serve
from wideseek_tools.encoders.encoder import open_encoder
from wideseek_tools.index.manifest import IndexInfo
from wideseek_tools.index.rank import Ranked, Ranker
from wideseek_tools.index.shard import Ranking, lexical_model, open_shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a process ranks with; the first message it gets."""

    shard: Path
    info: IndexInfo
    ranking: Ranking


def open_ranker(setup: Setup, shard: EdgeShard) -> Ranker:
    """Raises `ConfigError` if the encoder's packages are not installed."""
    config, method = setup.info.config, setup.ranking.method
    encoder = open_encoder(config.encoder) if method != "bm25" else None
    return Ranker(shard, lexical_model(config, setup.info.mean_words), setup.ranking, encoder)


class Handler:
    """Answers with rankings, once the first request has set it up."""

    def __init__(self) -> None:
        self._ranker: Ranker | None = None

    def __call__(self, request: Any) -> list[Ranked]:
        """The rankings of questions; nothing for the `Setup` that comes first."""
        if self._ranker is None:
            self._ranker = open_ranker(request, open_shard(request.shard))
            return []
        return self._ranker.rank(request)


if __name__ == "__main__":
    serve(Handler())
