"""Where the retrieval server listens, and what it takes."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from wideseek_core.config import Config
from wideseek_tools.config import EmbeddedConfig, QdrantConfig, StoreConfig
from wideseek_tools.encoders.config import kind_default


class ServeConfig(Config):
    """The retrieval server."""

    search: Annotated[
        EmbeddedConfig | QdrantConfig,
        Field(discriminator="kind"),
        BeforeValidator(kind_default("embedded")),
    ] = EmbeddedConfig()
    pages: StoreConfig = StoreConfig()
    host: str = "127.0.0.1"
    """Only this machine can connect. `0.0.0.0` serves the network: there is no login."""
    port: int = Field(default=8000, ge=0, le=65535)
    topk: int = Field(default=5, ge=1)
    """Results where the request names no number."""
    max_topk: int = Field(default=100, ge=1)
    max_queries: int = Field(default=256, ge=1)
    """Queries or URLs of one request."""
    max_query_chars: int = Field(default=8192, ge=1)
    max_body_bytes: int = Field(default=1_000_000, ge=1000)
    processes: int = Field(default=1, ge=0)
    """Processes that search an index folder; 0 searches in the server's own, which meanwhile waits.
    """
    max_waiting: int = Field(default=2048, ge=1)
    """Queries waiting for a batch; beyond it requests are turned away with 503."""
    shutdown_s: int = Field(default=10, ge=0)
    """Time for open requests when the server is told to stop."""
