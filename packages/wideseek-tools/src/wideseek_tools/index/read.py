"""Gives the passages of an index's points, and remembers those it read last."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor

import qdrant_edge as edge

from wideseek_core.errors import ToolUnavailable
from wideseek_tools.index.rank import Ranked
from wideseek_tools.passages import Hit, Passage

MAX_CACHED_PASSAGES = 20_000
"""Passages kept in memory."""


class PassageReader:
    """Reading a passage costs several times what finding it does, and agents find the same again.

    What is not known yet is read in `thread`.
    """

    def __init__(self, shard: edge.EdgeShard, thread: Executor) -> None:
        self._shard, self._thread = shard, thread
        self._known: dict[int, Passage] = {}

    async def hits(self, rankings: list[Ranked]) -> list[list[Hit]]:
        """The passages of each ranking. Raises `ToolUnavailable`."""
        known = self._known
        missing = {point for hits in rankings for point, _ in hits if point not in known}
        if missing:
            known = {
                point: known[point] for hits in rankings for point, _ in hits if point in known
            }
            loop = asyncio.get_running_loop()
            known |= await loop.run_in_executor(self._thread, self._read, [*missing])
            self._remember({point: known[point] for point in missing})
        return [[(known[point], score) for point, score in hits] for hits in rankings]

    def _remember(self, passages: Mapping[int, Passage]) -> None:
        self._known.update(passages)
        while len(self._known) > MAX_CACHED_PASSAGES:
            del self._known[next(iter(self._known))]

    def _read(self, points: list[int]) -> dict[int, Passage]:
        try:
            records = self._shard.retrieve([*points], True, False)
            return {int(record.id): _passage(record.payload or {}) for record in records}
        except Exception as error:  # the bindings raise bare Exceptions of many kinds
            raise ToolUnavailable(f"the index did not answer: {error}") from error


def _passage(fields: Mapping[str, object]) -> Passage:
    return Passage(
        id=str(fields["id"]),
        url=str(fields["url"]),
        title=str(fields["title"]),
        contents=str(fields["contents"]),
    )
