import asyncio

import pytest

from wideseek_agents.parallel import in_parallel
from wideseek_core import PolicyUnavailable


async def give(value: int) -> int:
    return value


async def fail(error: Exception) -> int:
    raise error


async def test_results_come_in_the_order_of_the_jobs_whichever_ends_first() -> None:
    last = asyncio.Event()

    async def wait() -> int:
        await last.wait()
        return 3

    async def end() -> int:
        last.set()
        return 2

    assert await in_parallel([wait(), give(1), end()]) == [3, 1, 2]


async def test_the_cause_rises_without_a_group() -> None:
    with pytest.raises(PolicyUnavailable, match="gone"):
        await in_parallel([give(1), fail(PolicyUnavailable("gone"))])


async def test_a_bug_is_not_hidden_by_a_failed_service() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_parallel([fail(PolicyUnavailable("gone")), fail(ZeroDivisionError())])


async def test_a_cause_rises_through_nested_groups() -> None:
    async def nested() -> int:
        raise ExceptionGroup("inner", [PolicyUnavailable("gone")])

    with pytest.raises(PolicyUnavailable):
        await in_parallel([nested()])
