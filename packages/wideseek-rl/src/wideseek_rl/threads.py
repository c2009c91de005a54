"""Blocking work beside the event loop."""

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

SWITCH_INTERVAL_S = 0.0005
"""A tenth of Python's own setting."""


@contextmanager
def short_turns() -> Generator[None]:
    """Inside the block, a thread that wants the interpreter gets it within half a millisecond.

    The event loop gives the interpreter up at every read, write and look at its sockets. While a
    thread beside it launches kernels, it would wait each time for as long as the interval is.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def in_thread(function: Callable[[], T]) -> T:
    """The result of a blocking function, which runs in a thread.

    Unlike `asyncio.to_thread`, a caller that is cancelled waits until the function has ended: what
    it works on (weights, a folder) is not touched by others before.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
