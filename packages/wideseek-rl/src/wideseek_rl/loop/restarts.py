"""A run whose trainer is lost resumes from its last checkpoint, with another trainer."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wideseek_core import RanksLost

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def with_restarts(attempt: Callable[[bool], Awaitable[T]], max_restarts: int) -> T:
    """Trains, and once more from the last checkpoint each time that ranks were lost.

    `attempt` opens a trainer, trains to the end and closes it; its argument says whether it is a
    repeated one. Raises `RanksLost` when ranks were lost too often.
    """
    for number in range(max_restarts):
        try:
            return await attempt(number > 0)
        except RanksLost as error:
            logger.error("%s", error)
            logger.warning(
                "the trainer is started again from its last checkpoint (%d of %d)",
                number + 1,
                max_restarts,
            )
    return await attempt(max_restarts > 0)
