"""Pages from the page store of an index folder."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from wideseek_core.config import Config
from wideseek_core.errors import ConfigError
from wideseek_core.plugins import Plugin
from wideseek_tools.page_store import STORE, PageStore


class StoreConfig(Config):
    """A page store: an index folder, or its `pages.sqlite`."""

    kind: Literal["store"] = "store"
    path: Path | None = None
    """Null where the app supplies its own."""


@asynccontextmanager
async def open_store(config: StoreConfig) -> AsyncGenerator[PageStore]:
    """The store. Raises `ConfigError` without a path, `CorruptFile` for what is no page store."""
    path = config.path
    if path is None:
        raise ConfigError("missing key 'pages.path': name an index folder or a page store")
    with PageStore(path / STORE if path.is_dir() else path) as store:
        yield store


PAGES = Plugin(config=StoreConfig, open=open_store)
