"""Work beside a block: its failure ends the block, and the block's end ends it."""

import asyncio

import pytest

from wideseek_core import ConfigError, TrainError
from wideseek_core.background import in_background


async def forever(events: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        events.append("ended")


async def fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("error", [KeyError("a bug"), TrainError("no server is left")])
async def test_a_failure_ends_the_block_that_waits(error: Exception) -> None:
    async def block() -> None:
        async with in_background(fail(error)):
            await asyncio.Event().wait()

    with pytest.raises(type(error)) as caught:
        await block()
    assert caught.value is error


async def test_a_failure_is_raised_by_a_block_that_waits_for_nothing() -> None:
    async def block() -> None:
        async with in_background(fail(KeyError("a bug"))):
            for _ in range(3):
                await asyncio.sleep(0)

    with pytest.raises(KeyError):
        await block()
    await asyncio.sleep(0)  # no cancellation is left over for what follows


async def test_the_end_of_the_block_ends_the_work() -> None:
    events: list[str] = []
    async with in_background(forever(events)):
        await asyncio.sleep(0)
        events.append("block")
    assert events == ["block", "ended"]


async def test_a_failure_of_the_block_is_raised_as_it_is() -> None:
    events: list[str] = []

    async def block() -> None:
        async with in_background(forever(events)):
            await asyncio.sleep(0)
            try:
                raise ValueError("inner")
            except ValueError as error:
                raise ConfigError("wrong key") from error

    with pytest.raises(ConfigError, match="wrong key") as caught:
        await block()
    assert isinstance(caught.value.__cause__, ValueError)
    assert events == ["ended"]


async def test_work_that_is_done_early_leaves_the_block_alone() -> None:
    async with in_background(asyncio.sleep(0)):
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_cancelled_block_stays_cancelled() -> None:
    async def block() -> None:
        async with in_background(asyncio.Event().wait()):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
