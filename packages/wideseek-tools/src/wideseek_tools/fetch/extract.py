"""Turns HTML into text in helper processes, each replaced when it takes too long or dies."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wideseek_core.errors import ToolUnavailable, WorkerError
from wideseek_core.frames import JSON
from wideseek_core.workers import WorkerPool


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a page says."""

    title: str
    text: str


class Extractors:
    """A pool of processes that extract. Use with `async with`; they start when needed."""

    def __init__(self, processes: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = WorkerPool("wideseek_tools.fetch.worker", processes=processes, coding=JSON)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def extract(self, page: bytes, url: str, charset: str = "") -> Extracted:
        """Title and text of a page. Raises `ToolUnavailable` if it takes too long.

        `charset` is what the response's header names; without one the page itself tells.
        """
        request = {"page": page.decode("latin-1"), "url": url, "charset": charset}
        try:
            title, text = await self._pool.ask(request, self._timeout_s)
        except TimeoutError:
            line = f"the page's text took longer than {self._timeout_s:g} s to extract"
            raise ToolUnavailable(line) from None
        except (WorkerError, ValueError, TypeError):
            raise ToolUnavailable("the page's text could not be extracted") from None
        return Extracted(str(title), str(text))
