"""Running things side by side: all results in order, or the first cause of failure."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar, cast

from wideseek_core import WideSeekError

T = TypeVar("T")


async def in_parallel(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in the order of the jobs. If one raises, the others are cancelled and it rises.

    Of several errors a bug comes before a `WideSeekError`, so that none is hidden.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as group:
        errors = _leaves(group)
        raise next((e for e in errors if not isinstance(e, WideSeekError)), errors[0]) from None
    return [task.result() for task in tasks]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            leaves += _leaves(cast(BaseExceptionGroup[BaseException], error))
        else:
            leaves.append(error)
    return leaves
