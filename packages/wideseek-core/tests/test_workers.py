import asyncio
import socket
import struct
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest

from wideseek_core.errors import ContextOverflow, WorkerError
from wideseek_core.frames import JSON, Kind, frame
from wideseek_core.helper import CHANNEL
from wideseek_core.workers import Worker, WorkerPool

MODULE = "worker_echo"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
async def worker() -> AsyncGenerator[Worker]:
    started = await Worker.start(MODULE, "concurrent")
    yield started
    await started.stop()


async def test_a_helper_answers_many_requests_at_once(worker: Worker) -> None:
    slow = asyncio.create_task(worker.ask(["wait for release"]))
    assert await worker.ask({"bytes": b"\0" * 1_000_000}) == {"bytes": b"\0" * 1_000_000}
    assert not slow.done()
    await worker.ask(["release"])
    assert await slow == ["wait for release"]


async def test_what_is_sent_is_handled_in_order_and_not_answered(worker: Worker) -> None:
    worker.tell("one")
    worker.tell(["crash"])
    worker.tell("two")
    assert await worker.ask(["received"]) == ["one", "two"]


async def test_an_error_of_the_tree_arrives_as_itself(worker: Worker) -> None:
    with pytest.raises(ContextOverflow, match="too long"):
        await worker.ask(["overflow"])
    with pytest.raises(WorkerError, match="ZeroDivisionError: by hand"):
        await worker.ask(["crash"])
    assert await worker.ask("still there") == "still there"


async def test_what_a_helper_prints_is_no_message(worker: Worker) -> None:
    assert await worker.ask(["print"]) == ["print"]
    assert await worker.ask("fine") == "fine"


async def test_a_cancelled_request_is_cancelled_in_the_helper(worker: Worker) -> None:
    waiting = asyncio.create_task(worker.ask(["wait", 60]))
    await worker.ask("started")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await worker.ask(["received"]) == ["started", "cancelled"]


async def test_a_death_ends_every_request_and_those_to_come(worker: Worker) -> None:
    waiting = asyncio.create_task(worker.ask(["wait", 60]))
    with pytest.raises(WorkerError, match="has ended"):
        await worker.ask(["die"])
    with pytest.raises(WorkerError):
        await waiting
    assert not worker.is_alive
    worker.tell("nobody")
    with pytest.raises(WorkerError, match="has ended"):
        await worker.ask("anybody")


async def test_a_helper_that_does_not_start() -> None:
    worker = await Worker.start("no_such_module")
    with pytest.raises(WorkerError):
        await worker.ask("anybody")
    await worker.stop()


async def test_a_helper_that_does_not_end_is_killed() -> None:
    worker = await Worker.start(MODULE)
    worker.tell(["sleep", 60])
    await worker.stop(0.2)
    assert not worker.is_alive


async def test_a_pool_restarts_what_takes_too_long_or_dies() -> None:
    async with WorkerPool(MODULE, processes=1) as pool:
        first = await pool.ask(["pid"])
        assert await pool.ask(["pid"]) == first
        with pytest.raises(TimeoutError):
            await pool.ask(["sleep", 60], timeout_s=0.2)
        second = await pool.ask(["pid"])
        with pytest.raises(WorkerError):
            await pool.ask(["die"])
        third = await pool.ask(["pid"])
        with pytest.raises(ContextOverflow):
            await pool.ask(["overflow"])
        assert await pool.ask(["pid"]) == third
    assert len({first, second, third}) == 3


async def test_a_pool_sets_its_helpers_up() -> None:
    async with WorkerPool(MODULE, processes=2, setup="setup") as pool:
        await pool.warm_up()
        assert await pool.ask(["received"]) == ["setup"]
    async with WorkerPool(MODULE, processes=1, setup=["overflow"]) as pool:
        with pytest.raises(ContextOverflow):
            await pool.ask(["pid"])


async def test_a_cancelled_request_of_a_pool_leaves_no_stray_answer() -> None:
    async with WorkerPool(MODULE, processes=1) as pool:
        task = asyncio.create_task(pool.ask(["sleep", 60]))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await pool.ask("next") == "next"


async def test_plain_values_only_where_data_is_hostile() -> None:
    worker = await Worker.start(MODULE, "json", coding=JSON)
    assert await worker.ask({"a": [1, "é"]}) == {"a": [1, "é"]}
    await worker.stop()


class Silent:
    """The input of a process that reads nothing."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


class Scripted:
    """A process that says what it is given to say."""

    pid, returncode = 0, 0

    def __init__(self) -> None:
        self.stdin, self.stdout = Silent(), asyncio.StreamReader()

    def kill(self) -> None:
        self.stdout.feed_eof()

    async def wait(self) -> int:
        return 0


@pytest.mark.parametrize("data", [b"5", b'["JudgeError"]', b"not JSON", b'["A", "b", "c"]'])
async def test_an_answer_that_can_not_be_read_fails_its_request_and_no_other(data: bytes) -> None:
    process = Scripted()
    worker = Worker(cast(Any, process), JSON)
    waiting = [asyncio.create_task(worker.ask(n)) for n in range(2)]
    await asyncio.sleep(0)
    process.stdout.feed_data(frame(Kind.ERROR, 0, data))
    with pytest.raises(WorkerError, match="unreadable"):
        await waiting[0]
    process.stdout.feed_data(frame(Kind.ANSWER, 1, b"7"))
    assert await waiting[1] == 7
    await worker.kill()


@pytest.mark.parametrize("mode", ["concurrent", "one by one"])
async def test_a_helper_that_loses_its_starter_ends_in_order(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv(CHANNEL, f"127.0.0.1 {server.getsockname()[1]} {'0' * 64}")
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, mode)
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(server)
        assert await loop.sock_recv(connection, 64)
        # Closed at once, the connection is not ended but reset, as by the loss of a network.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert await process.wait() == 0
