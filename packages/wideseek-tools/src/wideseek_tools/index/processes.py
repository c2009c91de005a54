"""Ranking in helper processes, each replaced when it dies."""

from types import TracebackType
from typing import Any, Self

from wideseek_core.errors import ToolUnavailable, WideSeekError, WorkerError
from wideseek_core.workers import WorkerPool
from wideseek_tools.index.rank import Question, Ranked
from wideseek_tools.index.worker import Setup


class RankingProcesses:
    """`rank` in one of several processes. Use with `async with`."""

    def __init__(self, processes: int, setup: Setup) -> None:
        self._pool = WorkerPool("wideseek_tools.index.worker", processes=processes, setup=setup)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        try:
            await self._pool.warm_up()
        except WorkerError as error:
            raise ToolUnavailable(f"the process that searches did not start: {error}") from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def rank(self, questions: list[Question]) -> list[Ranked]:
        """The ranking of each question. Raises `ToolUnavailable`."""
        try:
            return await self._ask(questions)
        except WorkerError:  # it died, perhaps long ago: another one may live
            pass
        try:
            return await self._ask(questions)
        except WorkerError as error:
            raise ToolUnavailable(f"the process that searches failed twice: {error}") from None

    async def _ask(self, questions: list[Question]) -> Any:
        try:
            return await self._pool.ask(questions)
        except (WorkerError, ToolUnavailable):
            raise
        except WideSeekError as error:
            raise ToolUnavailable(str(error)) from None
