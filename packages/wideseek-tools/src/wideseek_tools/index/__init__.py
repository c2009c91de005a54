"""Index folders: passages in an embedded Qdrant shard, pages in SQLite, and a manifest."""

from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.manifest import IndexInfo, read_index

__all__ = ["IndexConfig", "IndexInfo", "build_index", "read_index"]
