"""An event loop whose time is simulated: where it would wait, its clock jumps ahead."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from wideseek_core.errors import WideSeekError

T = TypeVar("T")


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs timers in their order without waiting for them."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Simulated seconds since the beginning."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Lets time pass."""
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    """Never waits: simulated programs have timers alone."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise WideSeekError("the simulation waits for something that never happens")
        self._loop.jump(max(timeout, 0.0))
        return super().select(0)


def simulate(program: Coroutine[Any, Any, T]) -> T:
    """The result of a program that waits in simulated time alone."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(program)
