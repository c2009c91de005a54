"""Tests that do not depend on the machine's speed: conditions to wait for, and time to let pass.

A test waits with `until` for what it needs instead of for some seconds. One whose waits are all
timers runs `in_simulated_time`. One that talks to a server, and waits for a time-out, runs
`in_movable_time`: its time-outs are long, and `let_pass` ends them once nothing else is under way.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from wideseek_core.simulated_time import simulate

PATIENCE_S = 300.0
"""Time after which what has not happened never will."""
P = ParamSpec("P")


async def until(true: Callable[[], bool]) -> None:
    """Waits for a condition. Raises `TimeoutError` after `PATIENCE_S`."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never happened")
        await asyncio.sleep(0.001)


def wait_until(true: Callable[[], bool]) -> None:
    """The same for tests without an event loop."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never happened")
        time.sleep(0.005)


def in_simulated_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that waits for timers alone: none is early or late, and no time passes."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        simulate(test(*args, **kwargs))

    return run


class MovableLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        super().__init__()

    def time(self) -> float:
        """Seconds, with those that were let pass."""
        return super().time() + self.ahead


def in_movable_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that may call `let_pass`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=MovableLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def let_pass(seconds: float) -> None:
    """Ends every wait of the running loop that is due within so many seconds."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovableLoop), "the test does not run in movable time"
    loop.ahead += seconds
