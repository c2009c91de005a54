"""Work that runs beside a block of code, and whose failure is never lost."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from wideseek_core.exception_groups import first_cause


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, object]) -> AsyncGenerator[None]:
    """Runs `work` beside the block, and cancels it at the end of the block.

    If the work fails, the block is cancelled and ends with that failure. A task that nobody awaits
    would keep its exception to itself, and the block would run on without it. The block has to be
    left by the task that entered it.
    """
    own: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            try:
                yield
            except BaseException as error:
                own = error
                raise
            finally:
                task.cancel()
    except BaseExceptionGroup as failures:
        if own is not None and own in failures.exceptions:
            raise own from own.__cause__
        raise first_cause(failures) from None
