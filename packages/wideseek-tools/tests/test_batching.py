import asyncio

import pytest

from wideseek_core.errors import QueueFull, ToolUnavailable
from wideseek_tools.batching import Batcher


async def test_a_crowd_runs_together_and_equal_keys_once() -> None:
    seen: list[list[int]] = []

    async def work(keys: list[int]) -> list[int]:
        seen.append(keys)
        await asyncio.sleep(0)
        return [key * 10 for key in keys]

    async with Batcher(work) as batcher:
        found = await asyncio.gather(*[batcher.submit(key) for key in (1, 2, 1, 3)])
    assert found == [10, 20, 10, 30]
    assert seen == [[1, 2, 3]]
    assert (batcher.batches, batcher.keys, batcher.joined) == (1, 3, 1)


async def test_batches_have_a_largest_size() -> None:
    sizes: list[int] = []

    async def work(keys: list[int]) -> list[int]:
        sizes.append(len(keys))
        return keys

    async with Batcher(work, max_batch=4) as batcher:
        await asyncio.gather(*[batcher.submit(key) for key in range(10)])
    assert sizes == [4, 4, 2]


async def test_one_bad_key_fails_alone() -> None:
    async def work(keys: list[int]) -> list[float]:
        return [1 / key for key in keys]

    async with Batcher(work) as batcher:
        good, bad = await asyncio.gather(
            batcher.submit(2), batcher.submit(0), return_exceptions=True
        )
    assert good == 0.5
    assert isinstance(bad, ZeroDivisionError)


async def test_full_queue_turns_calls_away() -> None:
    release = asyncio.Event()

    async def work(keys: list[int]) -> list[int]:
        await release.wait()
        return keys

    async with Batcher(work, max_batch=1, max_waiting=2) as batcher:
        running = [asyncio.create_task(batcher.submit(0))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running += [asyncio.create_task(batcher.submit(key)) for key in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="2 searches"):
            await batcher.submit(3)
        release.set()
        assert await asyncio.gather(*running) == [0, 1, 2]


async def test_cancelled_caller_leaves_the_others_their_result() -> None:
    release = asyncio.Event()

    async def work(keys: list[int]) -> list[int]:
        await release.wait()
        return keys

    async with Batcher(work) as batcher:
        one, two = (asyncio.create_task(batcher.submit(7)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        release.set()
        assert await two == 7


async def test_closing_ends_those_who_wait() -> None:
    async def work(keys: list[int]) -> list[int]:
        await asyncio.sleep(60)
        return keys

    async with Batcher(work) as batcher:
        call = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0)
    with pytest.raises(ToolUnavailable, match="closed"):
        await call
    with pytest.raises(ToolUnavailable, match="not open"):
        await batcher.submit(1)


@pytest.mark.parametrize("extra", [-1, 1])
async def test_work_that_returns_too_few_or_too_many_results_leaves_nobody_waiting(
    extra: int,
) -> None:
    async def work(keys: list[int]) -> list[int]:
        return [0] * (len(keys) + extra)

    async with Batcher(work) as batcher:
        for _ in range(2):  # the worker is still there for the second one
            found = await asyncio.gather(
                batcher.submit(1), batcher.submit(2), return_exceptions=True
            )
            assert all(isinstance(one, ToolUnavailable) for one in found)
