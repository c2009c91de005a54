"""The first pass over an input: checks every line, hashes the file, measures passages."""

import logging
from array import array
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from wideseek_core.counting import counted
from wideseek_core.errors import DataError
from wideseek_core.files import sha256, write_atomically
from wideseek_tools.index.manifest import Source
from wideseek_tools.passages import Passage, Row, read_rows

logger = logging.getLogger(__name__)

CORPUS = "corpus"
"""Name of a file of passages."""

_BITS = 1 << 28

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


class Repeats:
    """Which passages of a corpus were given before, at some nine bytes for each."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._bits = bytearray(_BITS // 8)
        self._doubtful: set[int] = set()
        """Keys whose bit was set by themselves or by another."""

    def add(self, key: int) -> None:
        """Takes the key of the next row."""
        place, bit = key % _BITS // 8, 1 << key % 8
        if self._bits[place] & bit:
            self._doubtful.add(key)
        self._bits[place] |= bit
        self._keys.append(key)

    def rows(self) -> tuple[int, ...]:
        """Rows, from 0, whose key an earlier row has."""
        seen: set[int] = set()
        found: list[int] = []
        for row, key in enumerate(self._keys):
            if key in self._doubtful:
                found += [row] if key in seen else []
                seen.add(key)
        return tuple(found)


def _measure(path: Path, name: str, passage: Callable[[Row], Passage], step: Step) -> Source:
    stat, rows, words, repeats = path.stat(), 0, 0, Repeats()
    for row in read_rows(path):
        made = passage(row)
        words += len(made.searchable.split())
        rows += 1
        if name == CORPUS:
            repeats.add(made.key)
        if rows % 1000 == 0:
            step(f"reading {name}", 1000, 0)
    if not rows:
        logger.warning("%s: there is nothing in it", path)
    if repeated := repeats.rows():
        line = "%s: given before, word for word: %s; the first of each is kept"
        logger.warning(line, path, counted(len(repeated), "passage"))
    return Source(
        name=name,
        sha256=sha256(path),
        bytes=stat.st_size,
        modified_ns=stat.st_mtime_ns,
        rows=rows,
        mean_words=words / max(1, rows),
        repeated=repeated,
    )
