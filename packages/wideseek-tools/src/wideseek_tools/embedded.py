"""Search in an index folder, in this process."""

import asyncio
import os
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from qdrant_edge import EdgeShard

from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_core.files import locked
from wideseek_core.search import Document
from wideseek_tools.batching import Batcher
from wideseek_tools.config import EmbeddedConfig
from wideseek_tools.encoders.encoder import Encoder, Vector, open_encoder
from wideseek_tools.index.manifest import SHARD, read_index
from wideseek_tools.index.shard import Question, Ranking, ShardReader, lexical_model, load_shard
from wideseek_tools.passages import Passage

REMEMBERED = 4096
"""Query vectors kept."""


def open_embedded(config: EmbeddedConfig, folder: Path, *, waiting: int = 4096) -> "EmbeddedSearch":
    """The search that a configuration describes, not entered yet."""
    built = read_index(folder, config.fingerprint).config.method
    ranking = Ranking(
        method=built if config.method == "auto" else config.method,
        hnsw_ef=config.hnsw_ef,
        rrf_k=config.rrf_k,
        lexical_weight=config.lexical_weight,
    )
    return EmbeddedSearch(folder, ranking, expected=config.fingerprint, waiting=waiting)


class EmbeddedSearch:
    """Searches an index folder; any number of processes may open the same one.

    Concurrent searches run as one batch. Use with `async with`. Raises `DataError` and
    `CorruptFile` for a folder that is no whole index.
    """

    def __init__(
        self,
        folder: Path,
        ranking: Ranking | None = None,
        *,
        encoder: Encoder | None = None,
        expected: str = "",
        waiting: int = 4096,
    ) -> None:
        self._stack = AsyncExitStack()
        self.info = read_index(folder, expected)
        built = self.info.config.method
        self.ranking = ranking or Ranking(method=built)
        if built not in ("hybrid", self.ranking.method):
            raise ConfigError(f"{folder} was built for {built!r}, not {self.ranking.method!r}")
        self._encoder = encoder
        if self.ranking.method != "bm25" and encoder is None:
            self._encoder = open_encoder(self.info.config.encoder)
        self._shard = self._open_shard(folder)
        lexical = lexical_model(self.info.config, self.info.mean_words)
        self._reader = ShardReader(self._shard, lexical, self.ranking)
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self.batcher: Batcher[tuple[str, int], list[Passage]] = Batcher(
            self._find_in_thread, waiting=waiting
        )

    def _open_shard(self, folder: Path) -> EdgeShard:
        """Opening touches small files of the shard: one process at a time, or in a copy."""
        if os.access(folder / SHARD, os.W_OK):
            with locked(folder / ".open.lock"):
                return load_shard(folder / SHARD)
        copy = TemporaryDirectory(prefix="wideseek-shard-")
        self._stack.callback(copy.cleanup)
        shutil.copytree(folder / SHARD, copy.name, dirs_exist_ok=True)
        return load_shard(Path(copy.name))

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(asyncio.to_thread, self._close)
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
        return [passage.document() for passage in await self.passages(query, k)]

    async def passages(self, query: str, k: int) -> list[Passage]:
        """`search` with ids and whole contents."""
        if k < 1 or not query.strip():
            return []
        return await self.batcher.submit((query, k))

    def _close(self) -> None:
        self._thread.shutdown()
        self._shard.close()

    async def _find_in_thread(self, questions: list[tuple[str, int]]) -> list[list[Passage]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.find, questions)

    def find(self, questions: list[tuple[str, int]]) -> list[list[Passage]]:
        """Many searches at once, in the calling thread."""
        vectors = self._encode([text for text, _ in questions])
        asked = [
            Question(text, k, vector) for (text, k), vector in zip(questions, vectors, strict=True)
        ]
        try:
            return self._reader.find(asked)
        except Exception as error:  # the bindings raise bare Exceptions of many kinds
            raise ToolUnavailable(f"the index did not answer: {error}") from error

    def _encode(self, texts: Sequence[str]) -> list[Vector | None]:
        if self._encoder is None:
            return [None] * len(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder.encode(new, queries=True), strict=True))
        found: list[Vector | None] = [self._vectors[text] for text in texts]
        for text in texts:
            self._vectors.move_to_end(text)
        while len(self._vectors) > REMEMBERED:
            self._vectors.popitem(last=False)
        return found
