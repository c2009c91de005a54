"""Search and pages in plain Python dictionaries, for tests, scripted worlds and small corpora.

Building and querying are cheap and need no native library: one small world per task is fine.
"""

import heapq
import math
import re
import unicodedata
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from wideseek_core.config import Config
from wideseek_core.errors import NoContent
from wideseek_core.plugins import Plugin
from wideseek_core.search import Document, Page
from wideseek_tools.passages import Passage, Row, passage_of_page, passage_of_row, read_rows
from wideseek_tools.urls import page_key, page_keys

K1, B = 1.2, 0.75
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be by did do does for from had has have how in is it its of on or that "
        "the their there these they this to was were what when where which who will with"
    )
)


class MemoryConfig(Config):
    """BM25 over small JSON-lines files, loaded into memory."""

    kind: Literal["memory"] = "memory"
    pages: Path
    corpus: Path | None = None
    """Passages; null makes them from the pages."""


class MemoryPagesConfig(Config):
    """Pages of a small JSON-lines file, loaded into memory."""

    kind: Literal["memory"] = "memory"
    path: Path


def words_of(text: str) -> list[str]:
    """Lower-case words without accents, English stop words and plural endings."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [_stem(word) for word in _WORD.findall(plain) if word not in _STOP]


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


class MemorySearch:
    """BM25 over an inverted index of Python lists.

    Example: `MemorySearch([Document(url="u", title="Triton", text="A moon of Neptune.")])`
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = list(documents)
        self._lengths: list[int] = []
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for place, document in enumerate(self._documents):
            counts = Counter(words_of(f"{document.title} {document.text}"))
            self._lengths.append(counts.total())
            for word, count in counts.items():
                self._postings.setdefault(word, []).append((place, count))
        self._mean = max(1.0, sum(self._lengths) / max(1, len(self._lengths)))

    @classmethod
    def from_files(
        cls, pages: Path, corpus: Path | None = None, *, words: int = 100
    ) -> "MemorySearch":
        """Over the passages of `corpus`, each once, else one per page, the last one of its URL."""
        if corpus is not None:
            given: dict[int, Passage] = {}
            for passage in map(passage_of_row, read_rows(corpus)):
                given.setdefault(passage.key, passage)
            passages: Iterable[Passage] = given.values()
        else:
            rows = {page_key(row.text("url")): row for row in read_rows(pages)}
            passages = (passage_of_page(row, words) for row in rows.values())
        return cls(passage.document() for passage in passages)

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents that share a word with the query, best first."""
        return self.find(query, k)

    def find(self, query: str, k: int) -> list[Document]:
        """`search` without waiting: there is nothing to wait for."""
        scores: dict[int, float] = {}
        total = len(self._documents)
        for word in dict.fromkeys(words_of(query)):
            found = self._postings.get(word, [])
            # idf(t) = ln(1 + (N - n + 1/2) / (n + 1/2)), Robertson and Zaragoza 2009
            idf = math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            for place, count in found:
                norm = K1 * (1 - B + B * self._lengths[place] / self._mean)
                scores[place] = scores.get(place, 0.0) + idf * count * (K1 + 1) / (count + norm)
        best = heapq.nsmallest(max(0, k), scores.items(), key=lambda pair: (-pair[1], pair[0]))
        return [self._scored(place, score) for place, score in best]

    def _scored(self, place: int, score: float) -> Document:
        found = self._documents[place]
        return Document(url=found.url, title=found.title, text=found.text, score=score)


def _page(row: Row) -> Page:
    text = row.text("contents")
    return Page(url=row.text("url"), text=text, title=row.title(text))


class MemoryPages:
    """Pages in a dictionary, looked up by normalised URL."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages: dict[str, Page] = {}
        self._bases: dict[str, Page] = {}
        for page in pages:
            self._pages[page_key(page.url)] = page
            self._bases.setdefault(page_key(page.url, fragment=False), page)

    @classmethod
    def from_file(cls, pages: Path) -> "MemoryPages":
        """From a JSON-lines file of `url`, `contents` and perhaps `title`."""
        return cls(map(_page, read_rows(pages)))

    async def read(self, url: str) -> Page:
        """The page at `url`, with or without its fragment. Raises `NoContent`."""
        candidates = [self._pages.get(key) for key in page_keys(url)]
        candidates += [self._bases.get(key) for key in page_keys(url, fragment=False)]
        for found in candidates:
            if found is not None:
                return Page(url=found.url, text=found.text, title=found.title, source="memory")
        raise NoContent(f"no page at {url!r}")


@asynccontextmanager
async def open_memory(config: MemoryConfig) -> AsyncGenerator[MemorySearch]:
    """The search over the files. Raises `DataError`."""
    yield MemorySearch.from_files(config.pages, config.corpus)


@asynccontextmanager
async def open_memory_pages(config: MemoryPagesConfig) -> AsyncGenerator[MemoryPages]:
    """The pages of the file. Raises `DataError`."""
    yield MemoryPages.from_file(config.path)


SEARCH = Plugin(config=MemoryConfig, open=open_memory)
PAGES = Plugin(config=MemoryPagesConfig, open=open_memory_pages)
