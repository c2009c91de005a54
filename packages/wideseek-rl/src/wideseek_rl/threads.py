"""Blocking work beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
