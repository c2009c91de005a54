"""Where the retrieval server listens, and what it takes."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.plugins import kind_union
from wideseek_tools.backends.embedded import EmbeddedConfig
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.backends.store import StoreConfig

if TYPE_CHECKING:
    ServedSearch = EmbeddedConfig | QdrantConfig
else:
    ServedSearch = kind_union(
        "wideseek.served_search", EmbeddedConfig, QdrantConfig, default="embedded"
    )


class ServeConfig(Config):
    """The retrieval server."""

    index: Path | None = None
    """An index folder, or the page store beside a Qdrant server."""
    search: ServedSearch = EmbeddedConfig()
    pages: StoreConfig = StoreConfig()
    host: str = "127.0.0.1"
    """Only this machine can connect. `0.0.0.0` serves the network: there is no login."""
    port: int = Field(default=8000, ge=0, le=65535)
    topk: int = Field(default=5, ge=1)
    """Results where the request names no number."""
    max_topk: int = Field(default=1000, ge=1)
    """Results of one query; requests for more get this many."""
    max_query_chars: int = Field(default=8192, ge=1)
    """Characters of a query that are read."""
    max_urls: int = Field(default=1024, ge=1)
    """URLs of one request."""
    max_body_bytes: int = Field(default=32_000_000, ge=1000)
    """Size of one request."""
    max_pending_bytes: int = Field(default=256_000_000, ge=1000)
    """Size of all requests being answered; beyond it requests are turned away with 503."""
    processes: int = Field(default=1, ge=0)
    """Processes that search an index folder; 0 searches in a thread of the server's."""
    max_waiting: int = Field(default=2048, ge=1)
    """Queries waiting for a batch; beyond it requests are turned away with 503."""
    shutdown_s: int = Field(default=10, ge=0)
    """Time for open requests when the server stops."""
    address_file: Path | None = None
    """Tell clients where the server listens: a line in this file, or a file in this folder."""
