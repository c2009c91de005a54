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

from wideseek_agents import ToolAnswered
from wideseek_core.search import Document, Page, PageSource, SearchBackend
from wideseek_core.text import one_line
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
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=\W?[A-Z0-9À-Þ])|(?<=[。！？；])")
MAX_PASSAGE = 200
"""Characters of a passage that is shown."""


class Support(StrEnum):
    """How far what was read supports a value."""

    PAGE = "page"
    """It is on a page that an agent opened and that names what the value belongs to."""
    WEAK = "weak"
    """It is only in a search result, or only on pages that do not name what it belongs to."""
    NONE = "none"
    """It is in nothing that was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value was read."""

    url: str
    passage: str
    """The line or sentence that states the value; empty if no single one does."""
    agents: tuple[int, ...]
    """Numbers of the agents that opened the page, or were shown the search result."""
    opened: bool
    """Whether the page was opened; a search result may be all that was seen of it."""


@dataclass(slots=True)
class Evidence:
    """The pages that agents opened, and the search results they saw."""

    pages: dict[str, "_Read"] = field(default_factory=dict[str, "_Read"])
    """By address, in the order of opening."""
    extracts: dict[tuple[str, str], "_Read"] = field(default_factory=dict[tuple[str, str], "_Read"])
    """By address and text, in the order in which they were found."""
    _earlier: set[str] = field(default_factory=set[str])
    """Pages that were opened for earlier questions only."""
    _names: dict[str, str] = field(default_factory=dict[str, str])
    """Addresses of opened pages by the addresses that were asked for."""
    _readers: dict[tuple[str, bool], dict[int, None]] = field(
        default_factory=dict[tuple[str, bool], dict[int, None]]
    )
    """Agents in order, by address and by whether the page was opened."""

    @property
    def opened(self) -> tuple[str, ...]:
        """Addresses of the pages that were opened for this question, in order."""
        return tuple(url for url in self.pages if url not in self._earlier)

    def begin_question(self) -> None:
        """Begins another question of the session: what was read stays, who read it does not."""
        self._earlier = set(self.pages)
        self._readers.clear()

    def add_page(self, page: Page, asked: str = "") -> None:
        """Takes an opened page; `asked` is the address it was asked for by."""
        name = page.url.replace("_", " ")
        self.pages[page.url] = _Read(f"{page.title}\n{name}\n{page.text}")
        self._names[asked or page.url] = page.url
        self._earlier.discard(page.url)

    def add_extract(self, document: Document) -> None:
        """Takes a search result."""
        text = f"{document.title}\n{document.text}"
        self.extracts.setdefault((document.url, text), _Read(text))

    def add_reader(self, event: ToolAnswered) -> None:
        """Takes down which agent was shown which addresses."""
        for url in event.urls:
            opened = url == event.request
            name = self._names.get(url, url) if opened else url
            self._readers.setdefault((name, opened), {})[event.agent] = None

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
        return self._best(value, subject)[0]

    def source(self, value: str, subject: str = "") -> Source | None:
        """The best place where a value was read: a page that names the subject, if there is one."""
        _, url, text, opened = self._best(value, subject)
        if text is None:
            return None
        return Source(
            url=url,
            passage=text.passage(value, subject),
            agents=tuple(self._readers.get((url, opened), ())),
            opened=opened,
        )

    def _best(self, value: str, subject: str) -> tuple[Support, str, "_Read | None", bool]:
        """The support of a value, and the address and text that give it."""
        if says_nothing(value):
            return Support.PAGE, "", None, True
        opened = [(url, page) for url, page in self.pages.items() if page.has(value)]
        for url, page in opened:
            if not subject or page.has(subject):
                return Support.PAGE, url, page, True
        for url, page in opened:
            return Support.WEAK, url, page, True
        found = [(url, text) for (url, _), text in self.extracts.items() if text.has(value)]
        named = [(url, text) for url, text in found if not subject or text.has(subject)]
        for url, text in named or found:
            return Support.WEAK, url, text, False
        return Support.NONE, "", None, False


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

    def passage(self, value: str, subject: str = "") -> str:
        """The first line or sentence that states the value, best with its subject; may be none."""
        stating = [piece for piece in self._pieces if piece.has(value)]
        with_subject = (piece for piece in stating if subject and piece.has(subject))
        best = next(with_subject, stating[0] if stating else None)
        return "" if best is None else shortened(one_line(best._raw), value, MAX_PASSAGE)

    @cached_property
    def _pieces(self) -> "list[_Read]":
        lines = (line for line in self._raw.splitlines() if line.strip())
        return [_Read(part) for line in lines for part in _SENTENCES.split(line) if part.strip()]

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


def shortened(text: str, value: str, length: int) -> str:
    """At most so many characters of a text, around the value where it is written so."""
    if len(text) <= length:
        return text
    length = max(1, length - 2)  # for the dots
    at = max(0, text.casefold().find(value.casefold()))
    start = max(0, min(at - length // 3, len(text) - length))
    end = start + length
    return f"{'…' * (start > 0)}{text[start:end].strip()}{'…' * (end < len(text))}"


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
        self.evidence.add_page(page, url)
        return page
