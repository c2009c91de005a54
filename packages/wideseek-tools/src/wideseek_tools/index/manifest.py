"""What an index folder says about itself, and the refusal of those that are not whole."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from wideseek_core.errors import CorruptFile, DataError
from wideseek_core.files import write_atomically
from wideseek_core.tasks import Record
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.page_store import STORE

FORMAT = 3
MANIFEST = "index.json"
SHARD = "shard"


class Source(Record):
    """One input file, as the build found it."""

    name: str
    sha256: str
    bytes: int
    modified_ns: int
    rows: int
    mean_words: float
    """Of the passages made from it, for BM25's length norm."""
    repeated: tuple[int, ...] = ()
    """Rows of a corpus, from 0, that say the same of the same page as an earlier one."""

    def unchanged(self, path: Path) -> bool:
        """Whether the file still has its size and time of change."""
        found = path.stat()
        return (found.st_size, found.st_mtime_ns) == (self.bytes, self.modified_ns)


class IndexInfo(Record):
    """The manifest of an index folder."""

    format: int = FORMAT
    fingerprint: str
    """Equal for indexes built from the same content with the same settings."""
    config: IndexConfig
    passages: int
    pages: int
    mean_words: float
    dimension: int = 0
    """Of the dense vectors; 0 if there are none."""
    sources: tuple[Source, ...] = ()

    def save(self, folder: Path) -> None:
        """Writes the manifest: from now on the folder counts as whole."""
        write_atomically(folder / MANIFEST, self.model_dump_json(indent=1) + "\n")


def fingerprint(config: IndexConfig, sources: tuple[Source, ...]) -> str:
    """Hash over what decides the content of an index."""
    digest = hashlib.sha256(f"{FORMAT}\n".encode())
    for source in sources:
        digest.update(f"{source.name} {source.sha256}\n".encode())
    settings = config.model_dump_json(exclude={"batch": True, "checkpoint": True})
    return digest.update(settings.encode()) or digest.hexdigest()


def read_index(folder: Path, expected: str = "") -> IndexInfo:
    """The manifest of a whole index.

    Raises `DataError` if there is none or it is of other content than `expected` (a fingerprint),
    `CorruptFile` if it is half-built or of another format.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"no index at {folder}: build one with wideseek-index build")
    try:
        info = IndexInfo.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CorruptFile(
            f"{folder} is no index, or was never finished: {MANIFEST} is missing"
        ) from None
    except (ValidationError, UnicodeDecodeError):
        raise CorruptFile(
            f"{path}: not a manifest of format {FORMAT}; build the index again"
        ) from None
    if info.format != FORMAT:
        raise CorruptFile(
            f"{path}: format {info.format}, this version reads {FORMAT}; build the index again"
        )
    for part in (SHARD, STORE):
        if not (folder / part).exists():
            raise CorruptFile(f"{folder}: {part} is missing; build the index again")
    if expected and info.fingerprint != expected:
        raise DataError(
            f"{folder} is an index of other content or settings "
            f"({info.fingerprint[:12]}, expected {expected[:12]}); build it elsewhere or remove it"
        )
    return info
