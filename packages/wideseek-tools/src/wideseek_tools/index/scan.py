"""The first pass over an input: checks every line, hashes the file, measures passages."""

import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from wideseek_core.errors import DataError
from wideseek_core.files import sha256, write_atomically
from wideseek_tools.index.manifest import Source
from wideseek_tools.passages import Passage, Row, read_rows

logger = logging.getLogger(__name__)

Step = Callable[[str, int, int], None]
"""Called with the stage, the items done since the last call, and the total (0 if unknown)."""


def scan(
    path: Path, name: str, passage: Callable[[Row], Passage], step: Step, known: Path | None = None
) -> Source:
    """Measures `path`; reuses the result kept in the file `known` if `path` is unchanged."""
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if known is not None and known.is_file():
        try:
            before = Source.model_validate_json(known.read_text("utf-8"))
        except ValidationError:
            before = None
        if before is not None and before.name == name and before.unchanged(path):
            return before
    source = _measure(path, name, passage, step)
    if known is not None:
        write_atomically(known, source.model_dump_json())
    return source


def _measure(path: Path, name: str, passage: Callable[[Row], Passage], step: Step) -> Source:
    stat, rows, words = path.stat(), 0, 0
    for row in read_rows(path):
        words += len(passage(row).searchable.split())
        rows += 1
        if rows % 1000 == 0:
            step(f"reading {name}", 1000, 0)
    if not rows:
        logger.warning("%s: there is nothing in it", path)
    return Source(
        name=name,
        sha256=sha256(path),
        bytes=stat.st_size,
        modified_ns=stat.st_mtime_ns,
        rows=rows,
        mean_words=words / max(1, rows),
    )
