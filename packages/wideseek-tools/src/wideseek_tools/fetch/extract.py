"""A pool of extraction processes, each replaced when it takes too long or dies."""

import asyncio
import contextlib
import json
import struct
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wideseek_core.errors import ToolUnavailable


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a page says."""

    title: str
    text: str


class Extractors:
    """Turns HTML into text in other processes. Use with `async with`; they start when needed."""

    def __init__(self, processes: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._idle: list[Process] = []
        self._slots = asyncio.Semaphore(processes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._idle:
            await _end(self._idle.pop())

    async def extract(self, page: bytes, url: str) -> Extracted:
        """Title and text of a page. Raises `ToolUnavailable` if it takes too long."""
        async with self._slots:
            process = self._idle.pop() if self._idle else await _start()
            try:
                async with asyncio.timeout(self._timeout_s):
                    found = await _ask(process, page, url)
            except TimeoutError:
                await _end(process)
                line = f"the page's text took longer than {self._timeout_s:g} s to extract"
                raise ToolUnavailable(line) from None
            except (OSError, EOFError, ValueError):
                await _end(process)
                raise ToolUnavailable("the page's text could not be extracted") from None
            except BaseException:  # cancelled: an answer is under way that nobody waits for
                await _end(process)
                raise
            self._idle.append(process)
            return found


async def _start() -> Process:
    command = (sys.executable, "-m", "wideseek_tools.fetch.worker")
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


async def _ask(process: Process, page: bytes, url: str) -> Extracted:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    name = url.encode()
    process.stdin.write(struct.pack("!II", len(name), len(page)) + name + page)
    await process.stdin.drain()
    (size,) = struct.unpack("!I", await process.stdout.readexactly(4))
    title, text = json.loads(await process.stdout.readexactly(size))
    return Extracted(title, text)
