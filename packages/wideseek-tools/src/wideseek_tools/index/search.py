"""Search in an index folder, without a server."""

import asyncio
import os
import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from wideseek_core.errors import ConfigError
from wideseek_core.search import Document
from wideseek_tools.batching import Batcher
from wideseek_tools.index.manifest import SHARD, read_index
from wideseek_tools.index.processes import RankingProcesses
from wideseek_tools.index.rank import Question, Ranked, Ranker, Ranks
from wideseek_tools.index.read import PassageReader
from wideseek_tools.index.shard import Ranking, open_shard
from wideseek_tools.index.worker import Setup, open_ranker
from wideseek_tools.passages import Hit


class IndexSearch:
    """Searches an index folder; any number of processes may open the same one.

    Concurrent searches run as one batch. Use with `async with`. Raises `DataError` and
    `CorruptFile` for a folder that is no whole index.
    """

    def __init__(
        self,
        folder: Path,
        ranking: Ranking | None = None,
        *,
        processes: int = 0,
        max_waiting: int = 4096,
    ) -> None:
        """`processes` rank beside this one; with 0 a thread does. At most `max_waiting` queue."""
        self._stack = AsyncExitStack()
        self.info = read_index(folder)
        built = self.info.config.method
        self.ranking = ranking or Ranking(method=built)
        if built not in ("hybrid", self.ranking.method):
            raise ConfigError(f"{folder} was built for {built!r}, not {self.ranking.method!r}")
        setup = Setup(shard=self._shard_folder(folder), info=self.info, ranking=self.ranking)
        self._shard = open_shard(setup.shard)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._reader = PassageReader(self._shard, self._thread)
        self._ranks: Ranks
        if processes:
            self._ranks = RankingProcesses(processes, setup)
        else:
            self._ranks = _ThreadRanker(open_ranker(setup, self._shard), self._thread)
        self.batcher: Batcher[Question, list[Hit]] = Batcher(
            self._find, max_waiting=max_waiting, workers=max(1, processes)
        )

    def _shard_folder(self, folder: Path) -> Path:
        """Opening touches small files of the shard: a folder that forbids it is copied."""
        if os.access(folder / SHARD, os.W_OK):
            return folder / SHARD
        copy = TemporaryDirectory(prefix="wideseek-shard-")
        self._stack.callback(copy.cleanup)
        shutil.copytree(folder / SHARD, Path(copy.name) / SHARD)
        return Path(copy.name) / SHARD

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(asyncio.to_thread, self._close)
        if isinstance(self._ranks, RankingProcesses):
            await self._stack.enter_async_context(self._ranks)
        await self._stack.enter_async_context(self.batcher)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def search(self, query: str, k: int) -> list[Document]:
        """At most `k` documents, best first. Raises `ToolError`."""
        return [passage.document(score) for passage, score in await self.hits(query, k)]

    async def hits(self, query: str, k: int) -> list[Hit]:
        """`search` with ids and whole contents."""
        if k < 1 or not query.strip():
            return []
        return await self.batcher.submit((query, k))

    def _close(self) -> None:
        self._thread.shutdown()
        self._shard.close()

    async def _find(self, questions: list[Question]) -> list[list[Hit]]:
        return await self._reader.hits(await self._ranks.rank(questions))


class _ThreadRanker:
    """Ranks in this process, beside the event loop."""

    def __init__(self, ranker: Ranker, thread: Executor) -> None:
        self._ranker, self._thread = ranker, thread

    async def rank(self, questions: list[Question]) -> list[Ranked]:
        """The ranking of each question."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ranker.rank, questions)
