"""The configuration of what agents search and read with; `kind` picks a backend.

Keys are never part of it. They come from the environment variables that `api_key_env` names.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from wideseek_core.config import Config
from wideseek_core.plugins import kind_union
from wideseek_tools.backends.embedded import EmbeddedConfig
from wideseek_tools.backends.store import StoreConfig
from wideseek_tools.providers import PAGE_SOURCES, PAGES_GROUP, SEARCH_BACKENDS, SEARCH_GROUP

if TYPE_CHECKING:
    SearchConfig = Config
    PagesConfig = Config
else:
    SearchConfig = kind_union(
        SEARCH_GROUP, *(plugin.config for plugin in SEARCH_BACKENDS), default="embedded"
    )
    PagesConfig = kind_union(
        PAGES_GROUP, *(plugin.config for plugin in PAGE_SOURCES), default="store"
    )


class CacheConfig(Config):
    """A file of answers, shared by processes."""

    path: Path
    search_ttl_s: float = Field(default=86_400.0, gt=0)
    """How long an answer of a search is kept."""
    page_ttl_s: float = Field(default=604_800.0, gt=0)
    """How long a page is kept."""
    max_bytes: int = Field(default=2_000_000_000, ge=1_000_000)
    """Size of all answers together, compressed; beyond it the oldest go."""


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
    def _record_or_replay(self) -> Self:
        if self.record and self.replay:
            raise ValueError("record and replay exclude each other")
        return self
