"""Which collection of which Qdrant is searched, and how."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.extras import require_modules
from wideseek_core.plugins import Plugin
from wideseek_tools.encoders.config import EncoderConfig, MiniLMConfig
from wideseek_tools.index.config import Method

if TYPE_CHECKING:
    from wideseek_tools.backends.qdrant.search import QdrantSearch


class SearchQuantization(Config):
    """Use of quantized vectors in a search."""

    ignore: bool = False
    """Compare original vectors only."""
    rescore: bool | None = None
    """Rank the candidates again by their original vectors; null for the server's choice."""
    oversampling: float | None = Field(default=None, ge=1.0)
    """How many times more candidates than results are rescored."""


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
    dense_vector: str | None = None
    """Name of the dense vector; empty for one without a name, null to look it up."""
    sparse_vector: str = "bm25"
    """Name of the BM25 vector."""
    id_field: str = "id"
    """Payload field with a passage's id; `a.b` is field `b` of object `a`, here and below."""
    contents_field: str = "contents"
    """Payload field with a passage's text."""
    title_field: str = "title"
    """Payload field with its title; where it is missing, the quoted first line of the text is."""
    url_field: str = "url"
    """Payload field with its page's address."""
    grpc: bool = True
    """Use gRPC (port 6334), which is faster."""
    hnsw_ef: int = Field(default=256, ge=1)
    """Candidates that a dense search keeps."""
    exact: bool = False
    """Compare the query with every vector, without the HNSW index."""
    quantization: SearchQuantization | None = None
    """How quantized vectors are used; null for the server's defaults."""
    rrf_k: int = Field(default=60, ge=1)
    """Constant of reciprocal rank fusion."""
    lexical_weight: float = Field(default=2.0, gt=0)
    """Weight of BM25 against dense in hybrid ranking."""
    timeout_s: int = Field(default=30, ge=1)
    """Timeout of one request."""


def require_qdrant() -> None:
    """Raises `ConfigError` if the extra `qdrant` is not installed."""
    modules = ("qdrant_client", "qdrant_edge")
    require_modules(*modules, feature="a Qdrant server", install="wideseek-tools[qdrant]")


@asynccontextmanager
async def open_qdrant(config: QdrantConfig) -> "AsyncGenerator[QdrantSearch]":
    """The search. Raises `ConfigError` if the server or the collection is not there."""
    require_qdrant()
    from wideseek_tools.backends.qdrant.search import QdrantSearch, connect, dense_vector_of

    client = connect(config)
    try:
        dense_vector = await dense_vector_of(client, config)
    except BaseException:
        await client.close()
        raise
    async with QdrantSearch(config, client, dense_vector=dense_vector) as search:
        yield search


SEARCH = Plugin(config=QdrantConfig, open=open_qdrant)
