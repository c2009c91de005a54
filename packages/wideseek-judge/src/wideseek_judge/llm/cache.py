"""What a model judge leaves on disk: verdicts to use again, transcripts to read."""

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from wideseek_core import CorruptFile, Record
from wideseek_core.files import append_line

logger = logging.getLogger(__name__)

_MAX_VARIABLES = 500


class VerdictCache:
    """Verdicts by key, in one SQLite file that several processes may share. Close it after use.

    A cache that can't be written is reported and then does without: it holds copies only.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "verdicts.sqlite"
        self._lock = threading.Lock()
        self._broken = False
        self._file = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
        try:
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
            )
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise CorruptFile(f"{self._path}: not a verdict cache, delete it: {error}") from None

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The verdicts that are known."""
        found: dict[str, str] = {}
        with self._lock:
            for start in range(0, len(keys), _MAX_VARIABLES):
                part = keys[start : start + _MAX_VARIABLES]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM verdicts WHERE key IN ({marks})"
                with closing(self._file.execute(query, part)) as rows:
                    found.update(rows)
        return found

    def put(self, verdicts: Mapping[str, str]) -> None:
        """Remembers verdicts."""
        if self._broken:
            return
        try:
            with self._lock, self._file:
                self._file.executemany(
                    "INSERT OR REPLACE INTO verdicts VALUES (?, ?)", list(verdicts.items())
                )
        except sqlite3.OperationalError as error:
            self._broken = True
            logger.warning("%s: verdicts are no longer remembered: %s", self._path, error)

    def close(self) -> None:
        """Closes the file. Calling it twice is fine."""
        self._file.close()


def cache_key(*parts: str) -> str:
    """One key for what a verdict depends on."""
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Exchange(Record):
    """One question put to a model, as written to the transcripts."""

    version: int = 1
    tasks: tuple[str, ...]
    """Ids of the tasks whose answers it served."""
    purpose: str
    """`table` or `answer`: the name of the prompt."""
    model: str
    prompt: str
    reply: str


class Transcripts:
    """Appends exchanges to a JSONL file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, exchange: Exchange) -> None:
        """Appends one exchange."""
        append_line(self._path, exchange)
