"""The pool: affinity, load caps, the queue, and replicas that die, come back, join and leave.

Everything that should succeed has long time-outs. Tests of a time-out run in movable time and let
it pass when nothing else is under way.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest

from wideseek_agents.engines import EnginePool, VllmServersConfig, open_servers
from wideseek_agents.engines.placement import State
from wideseek_agents.engines.replica import Replica
from wideseek_agents.engines.vllm import VllmReplica
from wideseek_core import Generated, PolicyError, PolicyUnavailable, Sampling, VersionSpan
from wideseek_core.testing import (
    FakeEngine,
    FakeVllm,
    Response,
    draw,
    in_movable_time,
    let_pass,
    until,
)
from wideseek_core.testing.fake_engine import fingerprint

PROMPT = list(range(10, 30))
SETTINGS = {
    "backoff_s": 0.0,
    "probe_interval_s": 0.02,
    "probe_timeout_s": 300.0,
    "max_failed_probes": 2,
    "affinity_wait_s": 0.05,
    "outage_timeout_s": 300.0,
    "check_logprobs": False,
}
RARELY = 100_000.0
"""Seconds between probes that a test lets happen by itself."""


def fakes(count: int, **engine: float) -> list[FakeVllm]:
    made = [FakeVllm(version=(0, 32), engine=FakeEngine(label="0")) for _ in range(count)]
    for fake in made:
        fake.engine.token_s = engine.get("token_s", 0.0)
    return made


@asynccontextmanager
async def opened(servers: Sequence[FakeVllm], **settings: float) -> AsyncGenerator[EnginePool]:
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.serving())
        config = VllmServersConfig.model_validate(
            {"base_urls": tuple(server.url for server in servers), **SETTINGS, **settings}
        )
        yield await stack.enter_async_context(open_servers(config, vocab_size=1000))


async def sample(pool: EnginePool, session: str = "a", tokens: int = 3, seed: int = 1) -> Generated:
    return await pool.generate(
        PROMPT, session=session, sampling=Sampling(max_tokens=tokens, seed=seed)
    )


def started(pool: EnginePool, *sessions: str, tokens: int = 30) -> list[asyncio.Task[Generated]]:
    return [asyncio.create_task(sample(pool, session, tokens)) for session in sessions]


def generated(server: FakeVllm) -> int:
    return server.server.paths().count("/inference/v1/generate")


def probes(server: FakeVllm) -> int:
    return sum(request.path == "/health" for request in server.server.requests)


async def hang() -> Response:
    await asyncio.Event().wait()
    raise AssertionError


def whole(tokens: int, seed: int = 1) -> tuple[int, ...]:
    ids: list[int] = []
    for _ in range(tokens):
        weights = fingerprint(FakeEngine().weights)
        ids.append(draw(weights, [*PROMPT, *ids], seed, 1000)[0])
    return tuple(ids)


async def test_a_session_stays_with_its_replica_and_sessions_spread() -> None:
    servers = fakes(2, token_s=0.001)
    async with opened(servers) as pool:
        for _ in range(3):
            await asyncio.gather(*(sample(pool, session) for session in ("a", "b", "c", "d")))
        assert [generated(server) for server in servers] == [6, 6]
        cached = pool.counts.cached_tokens
        assert cached == 0  # this route does not report cached tokens


async def test_a_full_replica_gives_a_waiting_session_to_another() -> None:
    servers = fakes(2, token_s=0.01)
    async with opened(servers, max_running=1, affinity_wait_s=0.01) as pool:
        await sample(pool, "a", tokens=1)
        home = 0 if generated(servers[0]) else 1
        first, second = started(pool, "a", "a", tokens=40)
        await asyncio.gather(first, second)
        assert [generated(servers[home]), generated(servers[1 - home])] == [2, 1]


async def test_a_session_waits_a_little_for_the_replica_that_holds_its_prefix() -> None:
    servers = fakes(2, token_s=0.002)
    async with opened(servers, max_running=1, affinity_wait_s=30.0) as pool:
        await sample(pool, "a", tokens=1)
        home = 0 if generated(servers[0]) else 1
        await asyncio.gather(*started(pool, "a", "a", tokens=10))
        assert [generated(servers[home]), generated(servers[1 - home])] == [3, 0]


async def test_no_replica_gets_more_than_its_cap() -> None:
    servers = fakes(2)
    for server in servers:
        server.engine.hold_at = 1
    async with opened(servers, max_running=3) as pool:
        tasks = started(pool, *map(str, range(40)), tokens=4)
        for server in servers:
            await server.engine.reached(1, requests=3)
            server.engine.hold_at = None
        await asyncio.gather(*tasks)
        assert pool.metrics["requests"] == 40
        assert pool.metrics["running"] == pool.metrics["waiting"] == 0
    assert [server.engine.most_running for server in servers] == [3, 3]


async def test_a_request_beyond_the_queue_fails_at_once() -> None:
    servers = fakes(1)
    servers[0].engine.hold_at = 0
    async with opened(servers, max_running=1, max_queued=2) as pool:
        tasks = started(pool, "a", "b", "c")
        await until(lambda: pool.metrics["waiting"] == 2)
        with pytest.raises(PolicyUnavailable, match="a queue of 2 requests already"):
            await sample(pool, "d")
        servers[0].engine.hold_at = None
        await asyncio.gather(*tasks)


@in_movable_time
async def test_time_in_the_queue_is_not_time_of_the_request() -> None:
    # Ten requests of 200 s one after another, each with a timeout of 1000 s: the last one waits for
    # 1800 s.
    servers, gates = fakes(1), [asyncio.Event() for _ in range(10)]

    async def wait() -> None:
        await gates[generated(servers[0]) - 1].wait()

    servers[0].faults["/inference/v1/generate"] = wait
    settings = {"max_running": 1, "timeout_s": 1000.0, "probe_interval_s": RARELY}
    async with opened(servers, **settings) as pool:
        tasks = started(pool, *map(str, range(10)), tokens=2)
        for number, gate in enumerate(gates, 1):
            await until(lambda asked=number: generated(servers[0]) == asked)
            let_pass(200)
            gate.set()
        assert len(await asyncio.gather(*tasks)) == 10
        assert pool.counts.resent == 0


async def test_the_queue_has_a_bound_of_its_own() -> None:
    async with opened(fakes(1, token_s=0.05), max_running=1, queue_timeout_s=0.05) as pool:
        (running,) = started(pool, "a", tokens=10)
        await asyncio.sleep(0)
        with pytest.raises(PolicyUnavailable, match=r"no engine was free within 0\.05 s"):
            await sample(pool, "b")
        await running


async def test_a_replica_that_is_killed_loses_nothing() -> None:
    servers = fakes(2)
    servers[0].engine.hold_at = 5
    async with opened(servers) as pool:
        tasks = started(pool, *map(str, range(16)), tokens=30)
        await servers[0].engine.reached(5, requests=8)
        await servers[0].server.kill()
        made = await asyncio.gather(*tasks)
        assert all(one.ids == whole(30) for one in made)
        assert pool.counts.resent == 8
        assert pool.counts.deaths == 1
        assert pool.states == {servers[0].url: State.DEAD, servers[1].url: State.READY}


@in_movable_time
async def test_a_replica_that_hangs_is_found_by_its_probes() -> None:
    hanging, healthy = fakes(2)
    settings = {"timeout_s": 1e6, "outage_timeout_s": 1e6}
    async with healthy.serving(), opened([hanging], **settings) as pool:
        hanging.engine.hold_at = 1
        tasks = started(pool, "a", "b", tokens=20)
        await hanging.engine.reached(1, requests=2)
        hanging.faults["/health"] = hang
        for _ in range(2):
            before = probes(hanging)
            await until(lambda before=before: probes(hanging) > before)
            let_pass(300)
        await until(lambda: pool.states[hanging.url] is State.DEAD)
        await pool.add(healthy.url)
        made = await asyncio.gather(*tasks)
        assert all(one.ids == whole(20) for one in made)
        assert pool.counts.resent == 2


@in_movable_time
async def test_a_timed_out_request_is_sent_again_to_a_live_replica() -> None:
    servers = fakes(1)

    async def first_hangs() -> Response | None:
        if generated(servers[0]) == 1:
            await asyncio.Event().wait()
        return None

    servers[0].faults["/inference/v1/generate"] = first_hangs
    async with opened(servers, timeout_s=1000.0, probe_interval_s=RARELY) as pool:
        (task,) = started(pool, "a", tokens=3)
        await until(lambda: generated(servers[0]) == 1)
        let_pass(1000)
        assert (await task).ids == whole(3)
        assert (pool.counts.resent, pool.counts.deaths) == (1, 0)


async def test_a_server_that_always_fails_is_given_up_after_its_attempts() -> None:
    servers = fakes(1)

    async def overloaded() -> Response:
        return Response.of({"error": {"message": "engine overloaded"}}, 503)

    servers[0].faults["/inference/v1/generate"] = overloaded
    async with opened(servers, max_attempts=3) as pool:
        with pytest.raises(PolicyUnavailable, match=r"engine overloaded.*3 attempts"):
            await sample(pool)
    assert generated(servers[0]) == 3


async def test_requests_wait_out_a_restart_when_no_replica_is_left() -> None:
    servers = fakes(1)
    servers[0].engine.hold_at = 3
    async with opened(servers) as pool:
        tasks = started(pool, "a", "b", tokens=20)
        await servers[0].engine.reached(3, requests=2)
        await servers[0].server.kill()
        servers[0].engine.hold_at = None
        await until(lambda: pool.states[servers[0].url] is State.DEAD)
        await servers[0].server.start()
        made = await asyncio.gather(*tasks)
        assert all(one.ids == whole(20) for one in made)
        assert pool.states == {servers[0].url: State.READY}


async def test_an_outage_ends_what_waits_with_its_reason() -> None:
    servers = fakes(1)
    servers[0].engine.hold_at = 1
    async with opened(servers, outage_timeout_s=0.1) as pool:
        (task,) = started(pool, "a", tokens=100)
        await servers[0].engine.reached(1)
        await servers[0].server.kill()
        with pytest.raises(PolicyUnavailable, match=rf"no engine has answered.*{servers[0].url}"):
            await task
        with pytest.raises(PolicyUnavailable, match="no engine has answered"):
            await sample(pool, "b")


async def test_a_restarted_replica_with_old_weights_gets_no_requests() -> None:
    servers = fakes(2)
    async with opened(servers) as pool:
        for server in servers:
            server.engine.label = "4"
        pool.version = 4
        await servers[0].server.kill()
        await until(lambda: pool.states[servers[0].url] is State.DEAD)
        servers[0].engine.label = "default"
        await servers[0].server.start()
        await until(lambda: pool.states[servers[0].url] is State.OUTDATED)
        before = generated(servers[0])
        await asyncio.gather(*started(pool, *map(str, range(8)), tokens=2))
        assert generated(servers[0]) == before
        pool.mark_current(servers[0].url)  # whoever sent it the weights says so
        await asyncio.gather(*started(pool, *map(str, range(8, 16)), tokens=2))
        assert generated(servers[0]) > before


async def test_a_replica_that_was_only_away_comes_back_by_itself() -> None:
    servers = fakes(2)
    async with opened(servers) as pool:
        servers[0].engine.label, pool.version = "4", 4
        await servers[0].server.kill()
        await until(lambda: pool.states[servers[0].url] is State.DEAD)
        await servers[0].server.start()
        await until(lambda: pool.states[servers[0].url] is State.READY)


async def test_nothing_is_sent_while_the_pool_is_held() -> None:
    servers = fakes(1, token_s=0.002)
    async with opened(servers) as pool:
        (running,) = started(pool, "a", tokens=10)
        await servers[0].engine.reached(1)
        async with pool.hold():
            (waiting,) = started(pool, "b", tokens=2)
            await running  # what was sent before is answered
            await asyncio.sleep(0.01)
            assert generated(servers[0]) == 1
            assert pool.metrics["waiting"] == 1
        await waiting


async def test_a_request_that_is_broken_off_goes_on_under_the_new_weights() -> None:
    servers = fakes(1, token_s=0.002)
    servers[0].version = (0, 23)  # a server that reports no spans
    engine = servers[0].engine
    async with opened(servers) as pool:
        pool.version = 7
        (task,) = started(pool, "a", tokens=40)
        await engine.reached(5)
        async with pool.hold():
            engine.pause(abort=True)
            await until(lambda: not engine.running)
            old, engine.weights = fingerprint(engine.weights), {"w": b"new"}
            pool.version = 8
            engine.resume()
        made = await task
        first, second = made.versions
        assert (first.version, second.version, second.end) == (7, 8, 40)
        assert first.end >= 5
        assert len(made.logprobs) == 40
        assert made.ids[: first.end] == whole(40)[: first.end]
        new = fingerprint(engine.weights)
        seed = engine.seeds[-1]
        for at in range(second.start, second.end):
            assert made.ids[at] == draw(new, [*PROMPT, *made.ids[:at]], seed, 1000)[0]
        assert old != new
        assert seed not in (None, 1)  # a first part's random numbers are not drawn twice
        assert engine.stale_reads == 0
        assert pool.counts.continued == 1


async def test_a_response_broken_off_at_its_last_token_is_whole() -> None:
    servers = fakes(1)

    async def abort() -> Response:
        choice = {
            "token_ids": [5, 6, 7],
            "logprobs": {"content": [{"logprob": -1.0}] * 3},
            "finish_reason": "abort",
        }
        return Response.of({"choices": [choice]})

    servers[0].faults["/inference/v1/generate"] = abort
    async with opened(servers) as pool:
        made = await sample(pool)
    assert made.ids == (5, 6, 7)
    assert made.versions == (VersionSpan(version=0, start=0, end=3),)


async def test_a_request_that_is_always_broken_off_ends() -> None:
    servers = fakes(1)

    async def abort() -> Response:
        body = b'{"choices": [{"token_ids": [], "logprobs": {}, "finish_reason": "abort"}]}'
        return Response(body=body)

    servers[0].faults["/inference/v1/generate"] = abort
    async with opened(servers, max_attempts=4) as pool:
        with pytest.raises(PolicyUnavailable, match="broke a request off 4 times"):
            await sample(pool)


async def test_replicas_join_and_leave() -> None:
    servers = fakes(2)
    servers[0].engine.hold_at = 2
    async with servers[1].serving(), opened(servers[:1]) as pool:
        tasks = started(pool, *map(str, range(6)), tokens=20)
        await servers[0].engine.reached(2, requests=6)
        await pool.add(servers[1].url)
        servers[0].engine.hold_at = None
        await pool.remove(servers[0].url)  # after its requests
        assert all(one.ids == whole(20) for one in await asyncio.gather(*tasks))
        assert pool.counts.resent == 0
        await sample(pool, "0")  # its session's replica has gone
        assert generated(servers[1]) == 1
        assert list(pool.states) == [servers[1].url]


async def test_a_replica_that_must_go_at_once_leaves_its_requests_to_others() -> None:
    servers = fakes(2)
    servers[0].engine.hold_at = 2
    async with opened(servers) as pool:
        tasks = started(pool, *map(str, range(4)), tokens=20)
        await servers[0].engine.reached(2, requests=2)
        await pool.remove(servers[0].url, "its weights are in doubt")
        assert all(one.ids == whole(20) for one in await asyncio.gather(*tasks))
        assert pool.counts.resent == 2


async def test_a_cancelled_request_ends_at_the_server_and_frees_its_place() -> None:
    servers = fakes(1, token_s=0.005)
    async with opened(servers, max_running=1) as pool:
        running, waiting = started(pool, "a", "b", tokens=1000)
        await servers[0].engine.reached(1)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        await until(lambda: not servers[0].engine.running)
        assert (await sample(pool, "c")).ids == whole(3)


async def test_who_cancels_while_a_request_ends_does_not_keep_its_place() -> None:
    servers = fakes(1, token_s=0.005)
    async with opened(servers, max_running=1) as pool:
        (running,) = started(pool, "a", tokens=1000)
        await servers[0].engine.reached(1)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        async with asyncio.timeout(60):
            assert (await sample(pool, "b")).ids == whole(3)


async def test_closing_the_pool_ends_what_waits() -> None:
    servers = fakes(1, token_s=0.005)
    async with servers[0].serving():
        config = VllmServersConfig.model_validate(
            {"base_urls": (servers[0].url,), **SETTINGS, "max_running": 1}
        )
        async with open_servers(config, vocab_size=1000) as pool:
            tasks = started(pool, "a", "b", tokens=20)
            await servers[0].engine.reached(1)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [PolicyError, PolicyError]


class Bugged:
    """A replica whose probes meet a bug from some moment on."""

    def __init__(self, inner: Replica) -> None:
        self._inner, self.bugged = inner, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def probe(self) -> None:
        if self.bugged:
            raise KeyError("a bug")
        await self._inner.probe()


async def test_a_replica_that_can_not_be_probed_gets_no_requests_until_it_can() -> None:
    (server,) = fakes(1)
    replicas: list[Bugged] = []

    def connect(url: str) -> Replica:
        replicas.append(Bugged(VllmReplica(url, config)))
        return cast(Replica, replicas[-1])

    async with server.serving():
        config = VllmServersConfig.model_validate({"base_urls": (server.url,), **SETTINGS})
        async with EnginePool(config, connect, vocab_size=1000) as pool:
            replicas[0].bugged = True
            await until(lambda: pool.states[server.url] is State.DEAD)
            replicas[0].bugged = False
            await until(lambda: pool.states[server.url] is State.READY)
            assert len((await sample(pool)).ids) == 3
