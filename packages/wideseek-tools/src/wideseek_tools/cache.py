"""A file of answers shared by processes: SQLite, a time to live, a size cap.

Only answers that hold something are kept. A failure, an unknown page, or a search that found
nothing (which some services answer when their engines refuse) is asked for again next time.
"""

import asyncio
import dataclasses
import hashlib
import json
import logging
import sqlite3
import threading
import time
import zlib
from types import TracebackType
from typing import Any, Self, cast

from wideseek_core.errors import CorruptFile
from wideseek_core.search import Document, Page, PageSource, SearchBackend
from wideseek_tools.config import CacheConfig
from wideseek_tools.urls import page_key

logger = logging.getLogger(__name__)
VERSION = 2
"""Part of every key: raise it when extraction changes."""
WRITES_BETWEEN_CHECKS = 50
"""Writes between two looks at the size."""
MAX_AHEAD_S = 60.0
"""An entry made later than this from now was made while a clock was wrong, and is not fresh."""
_SCHEMA = """
create table if not exists answers(
    key blob primary key, until real, created real, size integer, value blob);
create index if not exists by_age on answers(created);
"""


class Cache:
    """Values under keys, each with its time to live. Use with `with`."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self._writes = 0
        self._lock = threading.Lock()
        config.path.parent.mkdir(parents=True, exist_ok=True)
        self._link = sqlite3.connect(config.path, timeout=10.0, check_same_thread=False)
        try:
            self._link.executescript(
                "pragma journal_mode=wal; pragma synchronous=normal;" + _SCHEMA
            )
        except sqlite3.DatabaseError as error:
            self._link.close()
            raise CorruptFile(f"{config.path}: not a cache: {error}; remove it") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.close()

    def get(self, key: bytes) -> Any:
        """The JSON value under a key; None if there is none, or it is too old."""
        statement = "select value from answers where key=? and until>? and created<=?"
        now = time.time()
        try:
            with self._lock:
                row = self._link.execute(statement, (key, now, now + MAX_AHEAD_S))
                found = row.fetchone()
            return json.loads(zlib.decompress(found[0])) if found else None
        except (sqlite3.Error, zlib.error, ValueError) as error:
            logger.warning("%s: not read: %s", self.config.path, error)
            return None

    def put(self, key: bytes, value: object, ttl_s: float) -> None:
        """Keeps a JSON value. A cache that can't be written to is no reason to fail."""
        packed = zlib.compress(json.dumps(value).encode(), 3)
        now = time.time()
        row = (key, now + ttl_s, now, len(packed), packed)
        try:
            with self._lock, self._link:
                self._link.execute("insert or replace into answers values(?,?,?,?,?)", row)
                self._writes += 1
                if self._writes % WRITES_BETWEEN_CHECKS == 1:
                    self._shrink(now)
        except sqlite3.Error as error:
            logger.warning("%s: not written: %s", self.config.path, error)

    def _shrink(self, now: float) -> None:
        """Drops what is too old, then the oldest until a tenth of the cap is free."""
        statement = "delete from answers where until<=? or created>?"
        self._link.execute(statement, (now, now + MAX_AHEAD_S))
        (total,) = self._link.execute("select coalesce(sum(size), 0) from answers").fetchone()
        if total <= self.config.max_bytes:
            return
        kept = 0
        rows = self._link.execute("select key, size from answers order by created desc")
        too_many: list[tuple[bytes]] = []
        for key, size in rows:
            kept += size
            if kept > 0.9 * self.config.max_bytes:
                too_many.append((key,))
        self._link.executemany("delete from answers where key=?", too_many)


def _key(*parts: str) -> bytes:
    text = json.dumps([VERSION, *parts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class CachedSearch:
    """A backend whose answers are kept."""

    def __init__(self, inner: SearchBackend, cache: Cache, label: str) -> None:
        self._inner, self._cache, self._label = inner, cache, label
        """The label tells backends and settings apart."""

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        key = _key("search", self._label, query, str(k))
        known = await asyncio.to_thread(self._cache.get, key)
        if known is not None:
            return [Document(**cast(dict[str, Any], row)) for row in known]
        found = await self._inner.search(query, k)
        rows = [dataclasses.asdict(document) for document in found]
        if rows:
            ttl_s = self._cache.config.search_ttl_s
            await asyncio.to_thread(self._cache.put, key, rows, ttl_s)
        return found


class CachedPages:
    """A page source whose pages are kept."""

    def __init__(self, inner: PageSource, cache: Cache, label: str) -> None:
        self._inner, self._cache, self._label = inner, cache, label

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        key = _key("page", self._label, page_key(url))
        known = await asyncio.to_thread(self._cache.get, key)
        if known is not None:
            return Page(url=known["url"], text=known["text"], title=known["title"], source="cache")
        page = await self._inner.read(url)
        value = {"url": page.url, "text": page.text, "title": page.title}
        ttl_s = self._cache.config.page_ttl_s
        await asyncio.to_thread(self._cache.put, key, value, ttl_s)
        return page
