"""An event loop whose time is simulated: where it would wait, its clock jumps ahead."""

import asyncio
import math
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from wideseek_core.errors import WideSeekError

T = TypeVar("T")

MAX_S = 1e10
"""Simulated time after which a program is given up: some 300 years."""

RESOLUTION_S = time.get_clock_info("monotonic").resolution
"""Timers that are due within this are run by asyncio, and no others."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs timers in their order without waiting for them.

    No time passes while work given to `asyncio.to_thread` is running: it takes no simulated time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.in_threads = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Simulated seconds since the beginning."""
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":
        """Counts what threads do."""
        future = super().run_in_executor(executor, func, *args)
        self.in_threads += 1
        future.add_done_callback(self._count_down)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Waits for the threads, which another one does."""
        self.in_threads += 1
        await super().shutdown_default_executor(*args)

    def _count_down(self, _future: "asyncio.Future[Any]") -> None:
        self.in_threads -= 1

    def jump(self, seconds: float) -> None:
        """Lets time pass. Raises `WideSeekError` if that makes it too late."""
        if self._now + seconds > MAX_S:
            raise WideSeekError(
                f"the simulated time passes {MAX_S:.0e} s: times or lengths are too large"
            )
        self._now += seconds
        if self._now + RESOLUTION_S == self._now:
            # So late that numbers are further apart than the resolution: a timer would be due at
            # this very time and never run.
            self._now = math.nextafter(self._now, math.inf)


class _Jumping(selectors.DefaultSelector):
    """Waits for threads alone: else simulated programs have only timers."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if self._loop.in_threads and timeout != 0:
            return super().select()
        if timeout is None:
            raise WideSeekError("the simulation waits for something that never happens")
        self._loop.jump(max(timeout, 0.0))
        return super().select(0)


def simulate(program: Coroutine[Any, Any, T]) -> T:
    """The result of a program that waits in simulated time alone."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(program)
