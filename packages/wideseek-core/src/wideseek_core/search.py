"""The interfaces of search backends and page sources, and what they return."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One search result."""

    url: str
    title: str
    text: str
    """A passage or snippet, not the whole page."""
    score: float = 0.0
    """Higher is better; scales differ between backends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The readable text of one page."""

    url: str
    text: str
    title: str = ""
    source: str = ""
    """What served it: `store`, `fetch`, `jina`, `cache`, ..."""


class SearchBackend(Protocol):
    """Finds documents for a query."""

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first; an empty list if nothing matches.

        Raises `ToolError`.
        """
        ...


class PageSource(Protocol):
    """Reads pages."""

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent` for an unknown or empty page, and `ToolError`."""
        ...
