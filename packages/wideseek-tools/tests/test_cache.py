import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core.errors import CorruptFile, NoContent, ToolUnavailable
from wideseek_core.search import Document, Page
from wideseek_tools.cache import Cache, CachedPages, CachedSearch
from wideseek_tools.config import CacheConfig


class Counting:
    """A backend and page source that counts, and fails on request."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failure: Exception | None = None

    async def search(self, query: str, k: int) -> list[Document]:
        self.calls.append(query)
        if self.failure:
            raise self.failure
        return [Document(url="u", title="é", text=query, score=0.5)][:k]

    async def read(self, url: str) -> Page:
        self.calls.append(url)
        if self.failure:
            raise self.failure
        return Page(url=url, text="text", title="T", source="fetch")


async def test_second_answer_comes_from_the_cache(tmp_path: Path) -> None:
    inner = Counting()
    with Cache(CacheConfig(path=tmp_path / "c.sqlite")) as cache:
        search, pages = CachedSearch(inner, cache, "x"), CachedPages(inner, cache, "x")
        assert await search.search("q", 3) == await search.search("q", 3)
        first = await pages.read("HTTPS://a.org:443/%78")
        again = await pages.read("https://a.org/x")
    assert (first.text, first.source, again.text, again.source) == (
        "text",
        "fetch",
        "text",
        "cache",
    )
    assert inner.calls == ["q", "HTTPS://a.org:443/%78"]


async def test_other_settings_and_numbers_are_other_questions(tmp_path: Path) -> None:
    inner = Counting()
    with Cache(CacheConfig(path=tmp_path / "c.sqlite")) as cache:
        for label, query, k in (("x", "q", 3), ("y", "q", 3), ("x", "q", 4), ("x", "Q", 3)):
            await CachedSearch(inner, cache, label).search(query, k)
    assert len(inner.calls) == 4


async def test_a_search_that_found_nothing_is_asked_again(tmp_path: Path) -> None:
    inner = Counting()
    with Cache(CacheConfig(path=tmp_path / "c.sqlite")) as cache:
        search = CachedSearch(inner, cache, "x")
        assert await search.search("q", 0) == await search.search("q", 0) == []
    assert len(inner.calls) == 2


async def test_an_entry_from_the_future_is_not_fresh(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Cache(CacheConfig(path=path, search_ttl_s=60.0)) as cache:
        cache.put(b"key", "made while a clock was ten years ahead", 60.0)
        cache.put(b"now", "made now", 60.0)
        with sqlite3.connect(path) as link:
            ten_years = 315_000_000
            link.execute(
                "update answers set created=created+?, until=until+? where key=?",
                (ten_years, ten_years, b"key"),
            )
        assert cache.get(b"key") is None
        assert cache.get(b"now") == "made now"
        cache.put(b"key", "made again", 60.0)
        assert cache.get(b"key") == "made again"


async def test_failures_are_never_kept(tmp_path: Path) -> None:
    inner = Counting()
    with Cache(CacheConfig(path=tmp_path / "c.sqlite")) as cache:
        search, pages = CachedSearch(inner, cache, "x"), CachedPages(inner, cache, "x")
        inner.failure = ToolUnavailable("down")
        with pytest.raises(ToolUnavailable):
            await search.search("q", 3)
        inner.failure = NoContent("none")
        with pytest.raises(NoContent):
            await pages.read("http://a.org")
        inner.failure = None
        assert (await search.search("q", 3))[0].text == "q"
        assert (await pages.read("http://a.org")).text == "text"


async def test_answers_are_shared_between_openings(tmp_path: Path) -> None:
    config, inner = CacheConfig(path=tmp_path / "c.sqlite"), Counting()
    with Cache(config) as one, Cache(config) as two:
        await CachedSearch(inner, one, "x").search("q", 3)
        await CachedSearch(inner, two, "x").search("q", 3)
    assert len(inner.calls) == 1


def test_old_answers_are_gone(tmp_path: Path) -> None:
    with Cache(CacheConfig(path=tmp_path / "c.sqlite")) as cache:
        cache.put(b"k", 1, ttl_s=-1.0)
        assert cache.get(b"k") is None
        cache.put(b"k", 2, ttl_s=60.0)
        assert cache.get(b"k") == 2


def test_size_stays_under_its_cap(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Cache(CacheConfig(path=path, max_bytes=1_000_000)) as cache:
        for number in range(300):
            noise = "".join(str((number * 7919 + n * n * 104729) % 9973) for n in range(4000))
            cache.put(str(number).encode(), noise, ttl_s=60.0)
        assert cache.get(b"299") is not None
        assert cache.get(b"0") is None
    link = sqlite3.connect(path)
    (total,) = link.execute("select sum(size) from answers").fetchone()
    link.close()
    assert total < 1_500_000


def test_broken_row_is_asked_for_again_and_a_broken_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Cache(CacheConfig(path=path)) as cache:
        cache.put(b"k", 1, ttl_s=60.0)
        link = sqlite3.connect(path)
        with link:
            link.execute("update answers set value=x'00'")
        link.close()
        assert cache.get(b"k") is None
    other = tmp_path / "other"
    other.write_bytes(b"something else" * 1000)
    with pytest.raises(CorruptFile, match="not a cache"):
        Cache(CacheConfig(path=other))


def test_processes_share_one_cache(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from wideseek_tools.cache import Cache, CachedSearch\n"
        "from wideseek_tools.config import CacheConfig\n"
        "from wideseek_core import Document\n"
        "class One:\n"
        "    async def search(self, query, k):\n"
        "        return [Document(url='u', title='t', text=query)]\n"
        "async def main(number):\n"
        "    with Cache(CacheConfig(path=Path(sys.argv[1]))) as cache:\n"
        "        for n in range(50):\n"
        "            await CachedSearch(One(), cache, 'x').search(f'{number} {n}', 3)\n"
        "asyncio.run(main(sys.argv[2]))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(number)])
        for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    inner = Counting()

    async def ask() -> None:
        with Cache(CacheConfig(path=path)) as cache:
            for number in range(3):
                for n in range(50):
                    (found,) = await CachedSearch(inner, cache, "x").search(f"{number} {n}", 3)
                    assert found.text == f"{number} {n}"

    asyncio.run(ask())
    assert inner.calls == []
