"""Typed configuration of every backend: `kind` picks one.

Keys are never part of it. They come from the environment: SERPER_API_KEY, JINA_API_KEY,
BRAVE_API_KEY, TAVILY_API_KEY, QDRANT_API_KEY.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from wideseek_core.config import Config
from wideseek_tools.encoders.config import EncoderConfig, MiniLMConfig, kind_default

Method = Literal["bm25", "dense", "hybrid"]


class Limits(Config):
    """What one client of an HTTP service allows itself."""

    concurrent: int = Field(default=20, ge=1)
    """Requests in flight."""
    per_second: float = Field(default=50.0, gt=0)
    timeout_s: float = Field(default=20.0, gt=0)
    """Of one try."""
    deadline_s: float = Field(default=90.0, gt=0)
    """Of a call with all its tries and pauses."""
    tries: int = Field(default=5, ge=1)
    max_bytes: int = Field(default=20_000_000, ge=1000)
    """Of an answer, after decompression."""


class EmbeddedConfig(Config):
    """An index folder, searched in this process."""

    kind: Literal["embedded"] = "embedded"
    path: Path | None = None
    """The folder; null where the app supplies its own."""
    method: Literal["auto", "bm25", "dense", "hybrid"] = "auto"
    """`auto` ranks by all that the index was built for."""
    hnsw_ef: int = Field(default=256, ge=1)
    rrf_k: int = Field(default=60, ge=1)
    lexical_weight: float = Field(default=2.0, gt=0)
    """Of BM25 against dense in hybrid ranking."""
    fingerprint: str = ""
    """Refuse an index with any other; empty accepts all."""


class MemoryConfig(Config):
    """BM25 over small JSON-lines files, loaded into memory."""

    kind: Literal["memory"] = "memory"
    pages: Path
    corpus: Path | None = None
    """Passages; null makes them from the pages."""


class QdrantConfig(Config):
    """A collection on a Qdrant server or cluster."""

    kind: Literal["qdrant"] = "qdrant"
    url: str = "http://127.0.0.1:6333"
    """`:memory:` for a store inside this process, for tests."""
    collection: str = "wideseek"
    method: Method = "dense"
    encoder: EncoderConfig = MiniLMConfig()
    grpc: bool = True
    hnsw_ef: int = Field(default=256, ge=1)
    rrf_k: int = Field(default=60, ge=1)
    lexical_weight: float = Field(default=2.0, gt=0)
    timeout_s: int = Field(default=30, ge=1)


class ServerConfig(Config):
    """A retrieval server's `/retrieve`."""

    kind: Literal["server"] = "server"
    url: str = "http://127.0.0.1:8000"
    limits: Limits = Limits()


class SerperConfig(Config):
    """Google results through Serper."""

    kind: Literal["serper"] = "serper"
    url: str = "https://google.serper.dev"
    country: str = ""
    """Two letters (`gl`)."""
    language: str = ""
    """Two letters (`hl`)."""
    limits: Limits = Limits()


class DdgsConfig(Config):
    """Metasearch through the package `ddgs`; needs no key. Not for evaluation runs."""

    kind: Literal["ddgs"] = "ddgs"
    region: str = "us-en"
    engines: str = "auto"
    limits: Limits = Limits(concurrent=2, per_second=1.0)


class SearxngConfig(Config):
    """An own SearXNG with `formats: [html, json]`."""

    kind: Literal["searxng"] = "searxng"
    url: str = "http://127.0.0.1:8888"
    language: str = "auto"
    limits: Limits = Limits()


class BraveConfig(Config):
    """Brave's web search."""

    kind: Literal["brave"] = "brave"
    url: str = "https://api.search.brave.com"
    limits: Limits = Limits(per_second=1.0)


class TavilyConfig(Config):
    """Tavily's search."""

    kind: Literal["tavily"] = "tavily"
    url: str = "https://api.tavily.com"
    depth: Literal["basic", "advanced"] = "basic"
    limits: Limits = Limits()


class StoreConfig(Config):
    """A page store: an index folder, or its `pages.sqlite`."""

    kind: Literal["store"] = "store"
    path: Path | None = None
    """Null where the app supplies its own."""


class MemoryPagesConfig(Config):
    """Pages of a small JSON-lines file, loaded into memory."""

    kind: Literal["memory"] = "memory"
    path: Path


class ServerPagesConfig(Config):
    """A retrieval server's `/access`."""

    kind: Literal["server"] = "server"
    url: str = "http://127.0.0.1:8000"
    limits: Limits = Limits(concurrent=10)


class JinaConfig(Config):
    """Pages through the Jina reader; works without a key at a low rate."""

    kind: Literal["jina"] = "jina"
    url: str = "https://r.jina.ai"
    limits: Limits = Limits(concurrent=10, timeout_s=60.0, deadline_s=180.0, tries=8)


class FetchConfig(Config):
    """Pages fetched from here, with all guards, and their main text extracted."""

    kind: Literal["fetch"] = "fetch"
    user_agent: str = "wideseek/0.1 (research agent; respects robots.txt)"
    robots: bool = True
    """Ask robots.txt first."""
    ports: tuple[int, ...] = (80, 443)
    redirects: int = Field(default=5, ge=0, le=20)
    per_host: int = Field(default=2, ge=1)
    """Requests in flight to one host."""
    connect_s: float = Field(default=5.0, gt=0)
    extract_s: float = Field(default=20.0, gt=0)
    """Time for extraction; a page that takes longer is refused."""
    extractors: int = Field(default=2, ge=1)
    """Processes that extract."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may be private: your own servers, by exact name or address."""
    limits: Limits = Limits(concurrent=10, tries=3, max_bytes=5_000_000, deadline_s=60.0)


SearchConfig = Annotated[
    EmbeddedConfig
    | MemoryConfig
    | QdrantConfig
    | ServerConfig
    | SerperConfig
    | DdgsConfig
    | SearxngConfig
    | BraveConfig
    | TavilyConfig,
    Field(discriminator="kind"),
    BeforeValidator(kind_default("embedded")),
]
PagesConfig = Annotated[
    StoreConfig | MemoryPagesConfig | ServerPagesConfig | JinaConfig | FetchConfig,
    Field(discriminator="kind"),
    BeforeValidator(kind_default("store")),
]


class CacheConfig(Config):
    """A file of answers, shared by processes."""

    path: Path
    search_ttl_s: float = Field(default=86_400.0, gt=0)
    page_ttl_s: float = Field(default=604_800.0, gt=0)
    max_bytes: int = Field(default=2_000_000_000, ge=1_000_000)


class ToolsConfig(Config):
    """Search and pages, and what is put around them."""

    search: SearchConfig = EmbeddedConfig()
    pages: PagesConfig = StoreConfig()
    cache: CacheConfig | None = None
    record: Path | None = None
    """Write every call and its outcome to this file."""
    replay: Path | None = None
    """Answer every call from such a file; nothing else is asked."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.record and self.replay:
            raise ValueError("record and replay exclude each other")
        return self
