"""Search in an index folder, in this process (qdrant-edge)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.errors import ConfigError
from wideseek_core.plugins import Plugin
from wideseek_tools.index.config import require_index

if TYPE_CHECKING:
    from wideseek_tools.index.search import IndexSearch


class EmbeddedConfig(Config):
    """An index folder, searched in this process."""

    kind: Literal["embedded"] = "embedded"
    path: Path | None = None
    """The folder; null where the app supplies its own."""
    method: Literal["auto", "bm25", "dense", "hybrid"] = "auto"
    """`auto` ranks by all that the index was built for."""
    hnsw_ef: int = Field(default=256, ge=1)
    """Candidates that a dense search keeps."""
    rrf_k: int = Field(default=60, ge=1)
    """Constant of reciprocal rank fusion."""
    lexical_weight: float = Field(default=2.0, gt=0)
    """Weight of BM25 against dense in hybrid ranking."""
    fingerprint: str = ""
    """Refuse an index with any other; empty accepts all."""


@asynccontextmanager
async def open_embedded(
    config: EmbeddedConfig, *, processes: int = 0, max_waiting: int = 4096
) -> "AsyncGenerator[IndexSearch]":
    """The search in the folder. Raises `ConfigError`, and `DataError` for what is no index."""
    if config.path is None:
        raise ConfigError("missing key 'search.path': name an index folder")
    require_index()
    from wideseek_tools.index.manifest import read_index
    from wideseek_tools.index.search import IndexSearch
    from wideseek_tools.index.shard import Ranking

    built = read_index(config.path, config.fingerprint).config.method
    ranking = Ranking(
        method=built if config.method == "auto" else config.method,
        hnsw_ef=config.hnsw_ef,
        rrf_k=config.rrf_k,
        lexical_weight=config.lexical_weight,
    )
    async with IndexSearch(
        config.path, ranking, processes=processes, max_waiting=max_waiting
    ) as search:
        yield search


SEARCH = Plugin(config=EmbeddedConfig, open=open_embedded)
