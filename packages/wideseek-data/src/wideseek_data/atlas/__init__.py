"""The bundled world of true facts: pages to search, wide questions and short-answer questions."""

from wideseek_data.atlas.store import (
    AtlasFiles,
    domains,
    fingerprint,
    load_chains,
    load_tasks,
    load_wide,
    manifest,
    materialize,
    pages,
)

__all__ = [
    "AtlasFiles",
    "domains",
    "fingerprint",
    "load_chains",
    "load_tasks",
    "load_wide",
    "manifest",
    "materialize",
    "pages",
]
