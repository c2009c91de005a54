"""The page store: one SQLite file, written by streaming, read by any number of processes.

A page is found by a 64-bit hash of its normalised URL, so opening costs nothing and no page is
held in memory.
"""

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from wideseek_core.errors import CorruptFile, DataError, NoContent
from wideseek_core.search import Page
from wideseek_tools.passages import Mark, Row, read_rows
from wideseek_tools.urls import page_key, page_keys

STORE = "pages.sqlite"
"""Its name in an index folder."""
FORMAT = 2
BATCH = 2000
_SCHEMA = """
create table if not exists pages(
    id integer primary key, key integer, base integer, url text, title text, contents text);
create table if not exists progress(one integer primary key, line integer, offset integer);
"""
_INDEXES = """
create index if not exists by_key on pages(key);
create index if not exists by_base on pages(base);
"""


def hashed(key: str) -> int:
    """The signed 64-bit number a key is stored under."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def build_store(pages: Path, to: Path, advance: Callable[[int], None] = lambda _: None) -> int:
    """Writes the pages of a JSON-lines file to `to`; returns how many lines had a page.

    Killed and called again, it resumes behind the last committed batch. Readers refuse the file
    until it is complete. Of two pages with one URL the later wins.
    """
    link = sqlite3.connect(to)
    try:
        link.executescript("pragma journal_mode=delete; pragma synchronous=normal;" + _SCHEMA)
        at = link.execute("select line, offset from progress").fetchone()
        batch: list[Row] = []
        for row in read_rows(pages, Mark(*at) if at else Mark()):
            batch.append(row)
            if len(batch) == BATCH:
                _commit(link, batch)
                advance(len(batch))
                batch = []
        _commit(link, batch)
        advance(len(batch))
        link.executescript(_INDEXES)
        link.execute(f"pragma user_version={FORMAT}")
        return int(link.execute("select count(*) from pages").fetchone()[0])
    except sqlite3.OperationalError as error:
        raise DataError(f"{to}: can't be written: {error}") from None
    except sqlite3.DatabaseError as error:
        raise CorruptFile(f"{to}: {error}") from None
    finally:
        link.close()


def repeated_rows(store: Path) -> frozenset[int]:
    """Rows of the file behind a complete store, from 0, that a later page of the same URL replaces.

    However a URL is spelled: see `page_key`.
    """
    found: list[int] = []
    with closing(sqlite3.connect(store)) as link:
        groups = link.execute("select key from pages group by key having count(*) > 1").fetchall()
        for (key,) in groups:
            latest: dict[str, int] = {}
            rows = link.execute("select id, url from pages where key=? order by id", (key,))
            for identity, url in rows:  # ids count the rows from 1
                found += [latest[name]] if (name := page_key(url)) in latest else []
                latest[name] = identity - 1
    return frozenset(found)


def _commit(link: sqlite3.Connection, batch: list[Row]) -> None:
    if not batch:
        return
    with link:
        link.executemany(
            "insert into pages(key, base, url, title, contents) values(?,?,?,?,?)",
            map(_columns, batch),
        )
        end = batch[-1].end
        link.execute("insert or replace into progress values(1, ?, ?)", (end.line, end.offset))


def _columns(row: Row) -> tuple[int, int, str, str, str]:
    url, contents = row.text("url"), row.text("contents")
    base = page_key(url, fragment=False)
    return hashed(page_key(url)), hashed(base), url, row.title(contents), contents


class PageStore:
    """Reads pages from a file that `build_store` wrote. Use with `with` or `async with`."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CorruptFile(f"no page store at {path}")
        uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
        self._path = path
        # Threads that run one prepared statement at once read each other's rows.
        self._lock = threading.Lock()
        self._link = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            self._link.execute("pragma mmap_size=1099511627776")
            (version,) = self._link.execute("pragma user_version").fetchone()
        except sqlite3.DatabaseError as error:
            self._link.close()
            raise CorruptFile(f"{path}: not a page store: {error}") from None
        if version != FORMAT:
            self._link.close()
            problem = "was never finished" if version == 0 else f"has format {version}"
            raise CorruptFile(f"{path}: the page store {problem}; build it again")

    def close(self) -> None:
        """Frees the file."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._link.execute("select count(*) from pages").fetchone()[0])

    async def read(self, url: str) -> Page:
        """The page at `url`, with or without its fragment. Raises `NoContent`."""
        return await asyncio.to_thread(self.lookup, url)

    def lookup(self, url: str) -> Page:
        """`read` in the calling thread."""
        exact, base = page_keys(url), page_keys(url, fragment=False)
        for column, order, keys in (("key", "desc", exact), ("base", "asc", base)):
            for key in keys:
                found = self._select(column, order, key)
                if found is not None:
                    return found
        raise NoContent(f"no page at {url!r}")

    def _select(self, column: str, order: str, key: str) -> Page | None:
        statement = f"select url, title, contents from pages where {column}=? order by id {order}"
        try:
            with self._lock:
                rows = self._link.execute(statement, (hashed(key),)).fetchall()
        except sqlite3.DatabaseError as error:
            raise CorruptFile(f"{self._path}: {error}") from None
        for url, title, contents in rows:
            if page_key(url, fragment=column == "key") == key:
                return Page(url=url, text=contents, title=title, source="store")
        return None
