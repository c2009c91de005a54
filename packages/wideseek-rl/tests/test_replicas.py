import asyncio
import contextlib
import dataclasses
import os
import re
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
import torch

from wideseek_core import ConfigError, ContextOverflow, PolicyError, Sampling, WorkerLost
from wideseek_core.frames import PICKLE
from wideseek_core.policy import Finish, Generated
from wideseek_core.processes import start_child
from wideseek_core.workers import Worker
from wideseek_rl import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.messages import Generate
from wideseek_rl.engines.builtin.replicas import ReplicatedEngine
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.testing import tiny_model

PROMPT = [3, 4, 5, 6, 7, 8]
TWELVE = Sampling(max_tokens=12)
ENDLESS = Sampling(max_tokens=4000)


@pytest.fixture
async def pair() -> AsyncGenerator[ReplicatedEngine]:
    async with ReplicatedEngine(tiny_model(), processes=2) as engine:
        yield engine


def endless_model() -> Decoder:
    """One whose turns end with their budget alone."""
    return new_model(dataclasses.replace(tiny_model().config, eos_ids=()), seed=0)


def children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]


async def responses(engine: ReplicatedEngine | TorchEngine) -> list[tuple[int, ...]]:
    async def talk(session: str) -> tuple[int, ...]:
        first = await engine.generate(PROMPT, session=session, sampling=TWELVE)
        more = [*PROMPT, *first.ids, 9, 10]
        second = await engine.generate(more, session=session, sampling=TWELVE)
        await engine.close_session(session)
        await engine.close_session(session)
        return (*first.ids, *second.ids)

    return list(await asyncio.gather(*(talk(f"s{number}") for number in range(9))))


async def test_several_processes_sample_what_one_engine_samples(pair: ReplicatedEngine) -> None:
    alone = await responses(TorchEngine(pair.model))
    assert len(set(alone)) > 1
    assert await responses(pair) == alone


async def test_new_weights_are_sampled_from_once_they_are_loaded(pair: ReplicatedEngine) -> None:
    before = await responses(pair)
    with torch.no_grad():
        for parameter in pair.model.parameters():
            parameter.mul_(1.5)
    assert await responses(pair) == before
    await pair.load_weights(iter(pair.model.state_dict().items()), 7)
    made = await pair.generate(PROMPT, session="a", sampling=TWELVE)
    assert (pair.version, made.version) == (7, 7)
    after = await responses(pair)
    assert after == await responses(TorchEngine(pair.model))
    assert after != before


async def test_errors_and_cancelled_requests_pass_through() -> None:
    config = BuiltinEngineConfig(max_batch=1, context_tokens=300_000, max_cache_tokens=300_032)
    async with ReplicatedEngine(endless_model(), config, processes=1) as engine:
        with pytest.raises(ContextOverflow, match="300000"):
            await engine.generate([3] * 300_000, session="a", sampling=TWELVE)
        with pytest.raises(PolicyError, match="ids outside"):
            await engine.generate([-1], session="a", sampling=TWELVE)
        # It would hold the only place for many minutes.
        longest = Sampling(max_tokens=300_000)
        endless = asyncio.create_task(engine.generate(PROMPT, session="b", sampling=longest))
        await asyncio.sleep(0.1)
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        asked = engine.generate(PROMPT, session="c", sampling=TWELVE)
        assert len((await asyncio.wait_for(asked, 300)).ids) == 12


async def test_a_process_that_dies_is_replaced_and_its_requests_are_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = children()
    model = endless_model()
    async with ReplicatedEngine(model, processes=2) as engine:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        await engine.load_weights(iter(model.state_dict().items()), 3)
        first = next(pid for pid in children() if pid not in before)
        os.kill(first, signal.SIGSTOP)  # what it is asked from here on it does not answer
        long = Sampling(max_tokens=300)
        asked = [
            asyncio.create_task(engine.generate(PROMPT, session=f"s{n}", sampling=long))
            for n in range(4)
        ]
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        made = await asyncio.gather(*asked)
        assert engine.restarts == 1
        assert "has died" in caplog.text
        alone = TorchEngine(model)
        for number, response in enumerate(made):
            expected = await alone.generate(PROMPT, session=f"s{number}", sampling=long)
            assert response.ids == expected.ids
            assert response.version == 3
        assert len(set(children()) - set(before)) == 2
    assert children() == before


async def test_all_processes_may_die_between_requests_and_updates() -> None:
    before = children()
    async with ReplicatedEngine(endless_model(), processes=2) as engine:
        for pid in set(children()) - set(before):
            os.kill(pid, signal.SIGKILL)
        await engine.load_weights(iter(engine.model.state_dict().items()), 1)
        made = await engine.generate(PROMPT, session="a", sampling=TWELVE)
        assert (len(made.ids), made.version) == (12, 1)


class OneProcess:
    """A process that samples, as the engine sees it."""

    pid = 0

    def __init__(self) -> None:
        self.is_alive = True

    async def ask(self, request: object) -> Generated | None:
        if isinstance(request, Generate):
            return Generated(ids=(1,), logprobs=(0.0,), finish=Finish.STOP)
        return None

    async def ask_encoded(self, _weights: bytes) -> None:
        """Takes any weights."""

    async def kill(self) -> None:
        self.is_alive = False

    stop = kill


async def test_a_process_that_is_given_up_is_not_started_for_requests_that_waited() -> None:
    started: list[OneProcess] = []

    async def start(_number: int) -> Worker:
        if len(started) == 2 and not failing.done():
            failing.set_result(None)
            await asyncio.sleep(0)  # the other request comes to wait for the same process
            raise ConfigError("there is no room")
        started.append(OneProcess())
        return cast(Worker, started[-1])

    failing = asyncio.get_running_loop().create_future()
    async with ReplicatedEngine(endless_model(), processes=2, start=start) as engine:
        for session in "abcd":
            await engine.generate(PROMPT, session=session, sampling=TWELVE)
        await started[0].kill()
        made = await asyncio.gather(
            *(engine.generate(PROMPT, session=session, sampling=TWELVE) for session in "abcd")
        )
        assert [one.ids for one in made] == [(1,)] * 4
        assert [one.is_alive for one in started] == [False, True]
        assert failing.done()


@pytest.mark.parametrize("losses", [2, 3])
async def test_a_process_that_ends_while_it_starts_is_started_again(
    losses: int, caplog: pytest.LogCaptureFixture
) -> None:
    starts = 0

    async def start(_number: int) -> Worker:
        nonlocal starts
        starts += 1
        if starts <= losses:
            raise WorkerLost("killed")
        return cast(Worker, OneProcess())

    opening = ReplicatedEngine(endless_model(), processes=1, start=start)
    if losses == 3:
        with pytest.raises(PolicyError, match="did not start: killed"):
            await opening.__aenter__()
        return
    async with opening as engine:
        assert (await engine.generate(PROMPT, session="a", sampling=TWELVE)).ids == (1,)
    assert caplog.text.count("ended while it started: killed") == losses


@pytest.mark.parametrize(
    ("script", "starts"),
    [("echo no memory >&2; exit 1", 1), ("kill -9 $$", 3), ("exit 0", 3)],
)
async def test_a_process_that_ends_by_itself_is_not_started_again(
    script: str, starts: int, tmp_path: Path
) -> None:
    """Its error would come again, other than a kill or the end of its input."""
    begun = 0

    async def start(number: int) -> Worker:
        nonlocal begun
        begun += 1
        log = tmp_path / f"engine-{number}.log"
        child = await start_child(("/bin/sh", "-c", script), log=log, channel=True)
        return Worker(child, PICKLE)

    said = "no memory" if starts == 1 else "(nothing)"
    with pytest.raises(
        PolicyError, match=re.escape(f"did not start: the process has ended: {said}")
    ):
        await ReplicatedEngine(endless_model(), processes=1, start=start).__aenter__()
    assert begun == starts


async def test_a_request_that_kills_every_process_is_given_up() -> None:
    before = children()

    async def kill() -> None:
        while True:
            for pid in set(children()) - set(before):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    async with ReplicatedEngine(endless_model(), processes=1) as engine:
        killing = asyncio.create_task(kill())
        with pytest.raises(PolicyError, match=r"have died of one request|did not start"):
            await engine.generate(PROMPT, session="a", sampling=ENDLESS)
        killing.cancel()


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ReplicatedEngine(tiny_model(), processes=0)
