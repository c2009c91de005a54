"""Which collection of which Qdrant is searched, and how."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.plugins import Plugin
from wideseek_tools.encoders.config import EncoderConfig, MiniLMConfig
from wideseek_tools.index.config import Method

if TYPE_CHECKING:
    from wideseek_tools.backends.qdrant.search import QdrantSearch


class QdrantConfig(Config):
    """A collection on a Qdrant server or cluster."""

    kind: Literal["qdrant"] = "qdrant"
    base_url: str = "http://127.0.0.1:6333"
    """`:memory:` for a store inside this process, for tests."""
    api_key_env: str = "QDRANT_API_KEY"
    """Environment variable that holds the key, if the server wants one."""
    collection: str = "wideseek"
    method: Method = "dense"
    encoder: EncoderConfig = MiniLMConfig()
    grpc: bool = True
    """Use gRPC (port 6334), which is faster."""
    hnsw_ef: int = Field(default=256, ge=1)
    """Candidates that a dense search keeps."""
    rrf_k: int = Field(default=60, ge=1)
    """Constant of reciprocal rank fusion."""
    lexical_weight: float = Field(default=2.0, gt=0)
    """Weight of BM25 against dense in hybrid ranking."""
    timeout_s: int = Field(default=30, ge=1)
    """Timeout of one request."""


@asynccontextmanager
async def open_qdrant(config: QdrantConfig) -> "AsyncGenerator[QdrantSearch]":
    """The search. Raises `ConfigError` if the server or the collection is not there."""
    from wideseek_tools.backends.qdrant.search import QdrantSearch, connect, require_collection

    async with QdrantSearch(config, connect(config)) as search:
        await require_collection(search.client, config)
        yield search


SEARCH = Plugin(config=QdrantConfig, open=open_qdrant)
