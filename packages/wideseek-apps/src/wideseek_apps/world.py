"""Opens what agents search and read: the bundled atlas, a corpus, or any configured tools."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from wideseek_core import Config
from wideseek_core.config import cache_folder
from wideseek_core.files import locked
from wideseek_tools.config import ToolsConfig
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.open import Tools, open_tools

logger = logging.getLogger(__name__)


class AtlasWorld(Config):
    """The bundled world of true facts; its index is built once, in the cache folder."""

    kind: Literal["atlas"] = "atlas"
    index: IndexConfig = IndexConfig()


class CorpusWorld(Config):
    """Your own pages; the index is built in the cache folder, once for each state of the files."""

    kind: Literal["corpus"] = "corpus"
    pages: Path
    """JSON lines with `url`, `contents` and perhaps `title`."""
    corpus: Path | None = None
    """JSON lines of passages; null makes one of each page."""
    index: IndexConfig = IndexConfig()


class ToolsWorld(Config):
    """Any search backend and page source: an index folder, a server, the open web."""

    kind: Literal["tools"] = "tools"
    tools: ToolsConfig = ToolsConfig()


WorldConfig = Annotated[AtlasWorld | CorpusWorld | ToolsWorld, Field(discriminator="kind")]


@asynccontextmanager
async def open_world(config: WorldConfig) -> AsyncGenerator[Tools]:
    """The tools of a world. Raises `DataError` for pages that can't be indexed."""
    if isinstance(config, ToolsWorld):
        async with open_tools(config.tools) as tools:
            yield tools
        return
    index = await asyncio.to_thread(indexed, config)
    async with open_tools(ToolsConfig(), index=index) as tools:
        yield tools


def indexed(config: AtlasWorld | CorpusWorld) -> Path:
    """The index folder of a world, built if it is not there yet."""
    # Imported on use: reading a configuration needs neither the atlas nor the builder.
    from wideseek_data import atlas
    from wideseek_tools.index.build import build_index
    from wideseek_tools.index.manifest import FORMAT as INDEX_FORMAT

    if isinstance(config, AtlasWorld):
        name = f"atlas-{atlas.fingerprint()}"
        files = atlas.materialize(cache_folder() / "worlds" / name[:22])
        corpus, pages = files.corpus, files.pages
    else:
        # Files that have changed get an index of their own: the old one may be in use.
        name = f"{_state(config.pages)} {config.corpus and _state(config.corpus)}"
        corpus, pages = config.corpus, config.pages
    settings = config.index.model_dump_json()
    key = hashlib.sha256(f"{INDEX_FORMAT} {name} {settings}".encode()).hexdigest()[:16]
    folder = cache_folder() / "indexes" / key
    # Another process may be building the same index: whoever comes second finds it ready.
    with locked(folder.with_suffix(".lock")):
        build_index(corpus, pages, folder, config.index)
    return folder


def _state(path: Path) -> str:
    """A file's place and what tells its versions apart; the builder reports one that is missing."""
    try:
        found = path.stat()
    except OSError:
        return str(path.resolve())
    return f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
