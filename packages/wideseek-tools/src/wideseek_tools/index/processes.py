"""Ranking in other processes, each replaced when it dies."""

import asyncio
import contextlib
import pickle
import struct
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType
from typing import Any, Self

from wideseek_core.errors import ToolUnavailable
from wideseek_tools.index.rank import Question, Ranked
from wideseek_tools.index.worker import Setup, message


class RankingProcesses:
    """`rank` in one of several processes. Use with `async with`."""

    def __init__(self, processes: int, setup: Setup) -> None:
        self._setup = setup
        self._idle: list[Process] = []
        self._slots = asyncio.Semaphore(processes)

    async def __aenter__(self) -> Self:
        self._idle.append(await self._start())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._idle:
            await _end(self._idle.pop())

    async def rank(self, questions: list[Question]) -> list[Ranked]:
        """The ranking of each question. Raises `ToolUnavailable`."""
        async with self._slots:
            try:
                answer = await self._ask(questions)
            except (OSError, EOFError):  # it died, perhaps long ago
                answer = await self._again(questions)
        if isinstance(answer, str):
            raise ToolUnavailable(answer)
        return answer

    async def _again(self, questions: list[Question]) -> Any:
        try:
            return await self._ask(questions)
        except (OSError, EOFError):
            raise ToolUnavailable("the process that searches died twice") from None

    async def _ask(self, questions: list[Question]) -> Any:
        process = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await _ask(process, questions)
        except BaseException:  # it died, or an answer is under way that nobody waits for
            await _end(process)
            raise
        self._idle.append(process)
        return answer

    async def _start(self) -> Process:
        command = (sys.executable, "-m", "wideseek_tools.index.worker")
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        try:
            problem = await _ask(process, self._setup)
        except (OSError, EOFError):
            problem = "the process that searches did not start"
        if problem:
            await _end(process)
            raise ToolUnavailable(str(problem))
        return process


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


async def _ask(process: Process, value: object) -> Any:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    process.stdin.write(message(value))
    await process.stdin.drain()
    (size,) = struct.unpack("!I", await process.stdout.readexactly(4))
    return pickle.loads(await process.stdout.readexactly(size))
