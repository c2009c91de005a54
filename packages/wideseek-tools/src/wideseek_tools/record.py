"""Record and replay: every call and its outcome in a file, and a run again from that file alone.

The n-th call of one kind and request gets the n-th recorded outcome, so a run that asks the same
gets the same, failures included.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable
from pathlib import Path
from typing import Literal, TypeVar

from wideseek_core.errors import DataError, NoContent, ToolError, ToolRefused, ToolUnavailable
from wideseek_core.files import append_line, drop_torn_line, read_records
from wideseek_core.json_text import Number
from wideseek_core.search import Document, Page, PageSource, SearchBackend
from wideseek_core.tasks import Record
from wideseek_core.text import clean

T = TypeVar("T")
Fault = Literal["no_content", "refused", "unavailable"]


class RecordedDocument(Record):
    """A document, as recorded."""

    url: str
    title: str
    text: str
    score: Number


class RecordedPage(Record):
    """A page, as recorded."""

    url: str
    text: str
    title: str
    source: str


class Call(Record):
    """One call and its outcome: documents, a page, or a fault with its message."""

    version: Literal[1] = 1
    kind: Literal["search", "read"]
    request: str
    k: int = 0
    documents: tuple[RecordedDocument, ...] = ()
    page: RecordedPage | None = None
    fault: Fault | None = None
    message: str = ""
    seconds: float = 0.0


class Recorder:
    """Appends calls to a file; several processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        drop_torn_line(path)

    async def run(self, call: Call, work: Awaitable[T]) -> T:
        """The result of `work`; its failure is recorded here, success by `add`."""
        started = time.monotonic()
        try:
            return await work
        except ToolError as error:
            update = {
                "fault": _fault(error),
                "message": str(error),
                "seconds": time.monotonic() - started,
            }
            await self.add(call.model_copy(update=update))
            raise

    async def add(self, call: Call) -> None:
        """Writes one call."""
        await asyncio.to_thread(append_line, self._path, call)


class RecordingSearch:
    """A backend whose calls are recorded."""

    def __init__(self, inner: SearchBackend, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        call, started = Call(kind="search", request=query, k=k), time.monotonic()
        found = await self._recorder.run(call, self._inner.search(query, k))
        rows = tuple(
            RecordedDocument(url=hit.url, title=hit.title, text=hit.text, score=hit.score)
            for hit in found
        )
        update = {"documents": rows, "seconds": time.monotonic() - started}
        await self._recorder.add(call.model_copy(update=update))
        return found


class RecordingPages:
    """A page source whose calls are recorded."""

    def __init__(self, inner: PageSource, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        call, started = Call(kind="read", request=url), time.monotonic()
        page = await self._recorder.run(call, self._inner.read(url))
        row = RecordedPage(url=page.url, text=page.text, title=page.title, source=page.source)
        update = {"page": row, "seconds": time.monotonic() - started}
        await self._recorder.add(call.model_copy(update=update))
        return page


class Replay:
    """Both a backend and a page source, from a recording; it asks nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: dict[tuple[str, str, int], list[Call]] = defaultdict(list)
        self._next: dict[tuple[str, str, int], int] = defaultdict(int)
        for call in read_records(path, Call):
            self._calls[call.kind, call.request, call.k].append(call)
        if not self._calls:
            raise DataError(f"{path}: an empty recording")

    async def search(self, query: str, k: int) -> list[Document]:
        """What the search found then. Raises what it raised then, and `ToolUnavailable`."""
        call = self._take("search", query, k)
        return [
            Document(url=found.url, title=found.title, text=found.text, score=found.score)
            for found in call.documents
        ]

    async def read(self, url: str) -> Page:
        """The page as it was then. Raises what was raised then, and `ToolUnavailable`."""
        row = self._take("read", url, 0).page
        if row is None:
            raise DataError(f"{self._path}: a read of {url!r} without page and fault")
        return Page(url=row.url, text=row.text, title=row.title, source=row.source)

    def _take(self, kind: str, request: str, k: int) -> Call:
        key = (kind, clean(request), k)
        calls = self._calls.get(key)
        if not calls:
            raise ToolUnavailable(f"the recording has no {kind} of {request!r}")
        call = calls[min(self._next[key], len(calls) - 1)]
        self._next[key] += 1
        if call.fault is not None:
            raise _ERRORS[call.fault](call.message)
        return call


_ERRORS: dict[Fault, type[ToolError]] = {
    "no_content": NoContent,
    "refused": ToolRefused,
    "unavailable": ToolUnavailable,
}


def _fault(error: ToolError) -> Fault:
    for name, cls in _ERRORS.items():
        if isinstance(error, cls):
            return name
    return "unavailable"
