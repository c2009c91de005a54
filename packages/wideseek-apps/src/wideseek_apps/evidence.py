"""What the agents have read, and whether a value of the answer is in it.

A value counts as read if its text is there, its number (`1,353 km` for `1353`), its date in another
spelling, or all of its words on one page. Nothing here judges whether it answers the question.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from wideseek_core.search import Document, Page, PageSource, SearchBackend
from wideseek_judge.text.canonical import is_empty, plain
from wideseek_judge.text.dates import parse_date
from wideseek_judge.text.numbers import parse_number

_NUMBER = re.compile(r"[-−]?\d[\d,  ]*(?:\.\d+)?(?: ?(?:thousand|million|billion|trillion))?")
_THOUSANDS = re.compile(r"(?<=\d)[,  ](?=\d{3}(?!\d))")
_DASHES = str.maketrans(dict.fromkeys("−–—‐‑‒", "-"))
_WORD = re.compile(r"\w+")
_NOT_KNOWN = frozenset(
    ("unknown", "not known", "not found", "not stated", "not available", "no data")
)


class Support(StrEnum):
    """How far what was read supports a value."""

    PAGE = "page"
    """It is on a page that an agent opened and that names what the value belongs to."""
    WEAK = "weak"
    """It is only in a search result, or only on pages that do not name what it belongs to."""
    NONE = "none"
    """It is in nothing that was read."""


@dataclass(slots=True)
class Evidence:
    """The pages that agents opened, and the search results they saw."""

    pages: dict[str, "_Read"] = field(default_factory=dict[str, "_Read"])
    """By address, in the order of opening."""
    extracts: dict[str, "_Read"] = field(default_factory=dict[str, "_Read"])

    def add_page(self, page: Page) -> None:
        """Takes an opened page."""
        name = page.url.replace("_", " ")
        self.pages[page.url] = _Read(f"{page.title}\n{name}\n{page.text}")

    def add_extract(self, document: Document) -> None:
        """Takes a search result."""
        text = f"{document.title}\n{document.text}"
        self.extracts.setdefault(text, _Read(text))

    def watch_search(self, search: SearchBackend) -> SearchBackend:
        """The backend, its results taken as extracts."""
        return _WatchedSearch(search, self)

    def watch_pages(self, pages: PageSource) -> PageSource:
        """The source, its pages taken as opened."""
        return _WatchedPages(pages, self)

    def support(self, value: str, subject: str = "") -> Support:
        """How far a value is supported, `subject` being what it belongs to: the key of its row.

        What says that there is no value needs no support.
        """
        if says_nothing(value):
            return Support.PAGE
        opened = [page for page in self.pages.values() if page.has(value)]
        if any(not subject or page.has(subject) for page in opened):
            return Support.PAGE
        if opened or any(extract.has(value) for extract in self.extracts.values()):
            return Support.WEAK
        return Support.NONE


def says_nothing(value: str) -> bool:
    """Whether a value says that there is none: `-`, `n/a`, `unknown`."""
    return is_empty(value) or plain(value).casefold().strip(". ") in _NOT_KNOWN


class _Read:
    """One text that was read, prepared for look-ups."""

    def __init__(self, text: str) -> None:
        self._raw = text

    def has(self, value: str) -> bool:
        """Whether the text states the value, in one spelling or another."""
        if any(_contains(self._text, _normal(spelling)) for spelling in _spellings(value)):
            return True
        number = parse_number(plain(value))
        if number is not None:
            return number.value in self._numbers
        words = _WORD.findall(_normal(value))
        return len(words) > 1 and self._words.issuperset(words)

    @cached_property
    def _text(self) -> str:
        return _normal(self._raw)

    @cached_property
    def _words(self) -> set[str]:
        return set(_WORD.findall(self._text))

    @cached_property
    def _numbers(self) -> set[float]:
        found = (parse_number(match.strip(" ,")) for match in _NUMBER.findall(self._raw))
        return {number.value for number in found if number is not None}


def _normal(text: str) -> str:
    """Lower case, no accents, no separators of thousands, single blanks."""
    text = plain(text).casefold().translate(_DASHES)
    text = unicodedata.normalize("NFD", _THOUSANDS.sub("", text))
    return "".join(character for character in text if not unicodedata.combining(character))


def _contains(text: str, value: str) -> bool:
    """Whether the text holds the value, not amid a longer word or number."""
    if not value:
        return False
    before = r"(?<![^\W_])" if value[0].isascii() and value[0].isalnum() else ""
    after = r"(?![^\W_])" if value[-1].isascii() and value[-1].isalnum() else ""
    return re.search(f"{before}{re.escape(value)}{after}", text) is not None


def _spellings(value: str) -> Iterator[str]:
    yield value
    date = parse_date(plain(value))
    if date is None or date.month is None:
        return
    yield str(date)
    first = datetime.date(date.year, date.month, date.day or 1)
    for month in (f"{first:%B}", f"{first:%b}"):
        if date.day is None:
            yield f"{month} {date.year}"
        else:
            yield f"{date.day} {month} {date.year}"
            yield f"{month} {date.day}, {date.year}"


@dataclass(frozen=True, slots=True)
class _WatchedSearch:
    """A search backend whose results are remembered."""

    inner: SearchBackend
    evidence: Evidence

    async def search(self, query: str, k: int) -> list[Document]:
        """As the inner backend does."""
        documents = await self.inner.search(query, k)
        for document in documents:
            self.evidence.add_extract(document)
        return documents


@dataclass(frozen=True, slots=True)
class _WatchedPages:
    """A page source whose pages are remembered."""

    inner: PageSource
    evidence: Evidence

    async def read(self, url: str) -> Page:
        """As the inner source does."""
        page = await self.inner.read(url)
        self.evidence.add_page(page)
        return page
