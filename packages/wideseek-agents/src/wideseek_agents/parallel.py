"""Running things side by side: all results in order, or the first cause of failure."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from wideseek_core.exception_groups import ungrouped

T = TypeVar("T")


async def in_parallel(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in the order of the jobs. If one raises, the others are cancelled and it rises.

    Of several errors a bug comes before a `WideSeekError`, so that none is hidden.
    """
    waiting = list(jobs)
    with ungrouped():
        if len(waiting) == 1:
            return [await waiting[0]]  # A task of its own would only take time.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in waiting]
    return [task.result() for task in tasks]
