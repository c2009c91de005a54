"""Joins concurrent calls into batches."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from types import TracebackType
from typing import Generic, Self, TypeVar

from wideseek_core.counting import counted
from wideseek_core.errors import QueueFull, ToolUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batcher(Generic[K, V]):
    """Runs `work(keys)` on whatever has arrived since it was last free.

    There is no timer: a lone call runs at once, a crowd runs together. Equal keys in flight share
    one result. Use with `async with`.
    """

    def __init__(
        self,
        work: Callable[[list[K]], Awaitable[list[V]]],
        *,
        max_batch: int = 64,
        max_waiting: int = 4096,
        workers: int = 1,
    ) -> None:
        """`max_waiting` bounds the queue, `workers` is how many batches run at once."""
        self._work, self._max_batch, self._max_waiting = work, max_batch, max_waiting
        self._in_flight: dict[K, list[asyncio.Future[V]]] = {}
        """The calls that wait for each key; cancelling one ends no other."""
        self._pending: list[K] = []
        self._wake, self._taken = asyncio.Event(), asyncio.Event()
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []
        self.batches = 0
        self.keys = 0
        self.joined = 0

    @property
    def waiting(self) -> int:
        """Calls that no batch has taken yet."""
        return len(self._pending)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._workers)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for waiters in self._in_flight.values():
            _settle(waiters, ToolUnavailable("the search was closed"))
        self._in_flight.clear()
        self._taken.set()
        self._pending.clear()

    async def submit(self, key: K) -> V:
        """The result for `key`. Raises `QueueFull`, and what the work raised."""
        return await self.enqueue(key)

    def enqueue(self, key: K) -> "asyncio.Future[V]":
        """`submit` without waiting. Raises `QueueFull`."""
        if not self._tasks:
            raise ToolUnavailable("the search is not open: use it inside `async with`")
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        if waiters := self._in_flight.get(key):
            self.joined += 1
            waiters.append(future)
            return future
        if len(self._pending) >= self._max_waiting:
            raise QueueFull(f"the queue of {counted(self._max_waiting, 'search')} is full already")
        self._in_flight[key] = [future]
        self._pending.append(key)
        self._wake.set()
        return future

    async def wait_for_room(self, count: int) -> None:
        """Waits until `count` more calls, or one if that is more than all, may queue."""
        while self._pending and len(self._pending) + count > self._max_waiting:
            self._taken.clear()
            await self._taken.wait()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._pending[: self._max_batch]
                self._pending = self._pending[self._max_batch :]
                self._taken.set()
                self.batches += 1
                self.keys += len(batch)
                outcomes = await self._attempt(batch)
                for key, outcome in zip(batch, outcomes, strict=True):
                    _settle(self._in_flight.pop(key), outcome)

    async def _attempt(self, batch: list[K]) -> list[V | Exception]:
        """The batch's results; if it fails, each key by itself, so that one can't fail the rest."""
        try:
            found = await self._work(batch)
            if len(found) != len(batch):
                raise ToolUnavailable(
                    f"{counted(len(found), 'result')} for {counted(len(batch), 'search')}"
                )
            return [*found]
        except Exception as error:  # noqa: BLE001 - carried to the caller that waits for it
            if len(batch) == 1:
                return [error]
        return [outcome for key in batch for outcome in await self._attempt([key])]


def _settle(waiters: "list[asyncio.Future[V]]", outcome: V | Exception) -> None:
    for future in waiters:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
            future.exception()  # counts as seen, for its caller may have been stopped by another
        else:
            future.set_result(outcome)
