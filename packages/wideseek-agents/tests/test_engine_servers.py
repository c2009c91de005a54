"""Clients of vLLM and SGLang servers, against fakes that speak their wire formats."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from wideseek_agents.engines import (
    AnyServersConfig,
    EnginePool,
    SglangServersConfig,
    VllmServersConfig,
    open_servers,
)
from wideseek_agents.engines.sglang import SglangReplica
from wideseek_agents.engines.vllm import ARRAYS
from wideseek_core import (
    ConfigError,
    ContextOverflow,
    Finish,
    PolicyError,
    PolicyUnavailable,
    Sampling,
    one_version,
)
from wideseek_core.testing import FakeEngine, FakeSglang, FakeVllm, Response, draw, until
from wideseek_core.testing.fake_engine import fingerprint

Fake = FakeVllm | FakeSglang
PROMPT = list(range(10, 30))
KINDS: dict[str, tuple[Callable[[], Fake], str]] = {
    "vllm-0.23": (lambda: FakeVllm(version=(0, 23)), "generate"),
    "vllm-0.32": (lambda: FakeVllm(version=(0, 32)), "generate"),
    "vllm-0.23 arrays": (lambda: FakeVllm(version=(0, 23)), "arrays"),
    "vllm-0.32 arrays": (lambda: FakeVllm(version=(0, 32)), "arrays"),
    "vllm-completions": (lambda: FakeVllm(version=(0, 23)), "completions"),
    "sglang-0.5.17": (lambda: FakeSglang(version=(0, 5, 17)), ""),
    "sglang-0.5.21": (lambda: FakeSglang(version=(0, 5, 21)), ""),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def config_of(kind: str, *urls: str) -> AnyServersConfig:
    if kind.startswith("sglang"):
        return SglangServersConfig(base_urls=urls, backoff_s=0.0)
    values = {"base_urls": urls, "route": KINDS[kind][1], "backoff_s": 0.0}
    return VllmServersConfig.model_validate(values)


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[tuple[EnginePool, Fake]]:
    fake = KINDS[kind][0]()
    async with (
        fake.serving(),
        open_servers(config_of(kind, fake.url), vocab_size=fake.engine.vocab_size) as pool,
    ):
        yield pool, fake


def expected(engine: FakeEngine, prompt: list[int], count: int, seed: int) -> list[int]:
    ids: list[int] = []
    for _ in range(count):
        token, _ = draw(fingerprint(engine.weights), [*prompt, *ids], seed, engine.vocab_size)
        ids.append(token)
    return ids


async def test_ids_go_in_and_ids_with_their_logprobs_come_out(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        made = await pool.generate(PROMPT, session="a", sampling=Sampling(max_tokens=5, seed=7))
    assert list(made.ids) == expected(fake.engine, PROMPT, 5, 7)
    assert made.logprobs[0] == draw(fingerprint(fake.engine.weights), PROMPT, 7, 1000)[1]
    assert made.finish is Finish.LENGTH
    assert made.versions == one_version(0, 5)


async def test_a_request_carries_all_of_its_sampling(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        stop = expected(fake.engine, PROMPT, 3, 2**62 + 1)[2]
        sampling = Sampling(
            temperature=0.7, top_p=0.9, max_tokens=8, stop_ids=(stop,), seed=2**62 + 1
        )
        made = await pool.generate(PROMPT, session="a", sampling=sampling)
        body = fake.server.requests[-1].json()
    sent = body.get("sampling_params", body)
    assert (sent["temperature"], sent["top_p"]) == (0.7, 0.9)
    assert sent["stop_token_ids"] == [stop]
    assert sent.get("seed", sent.get("sampling_seed")) == 2**62 + 1
    assert made.finish is Finish.STOP
    assert made.ids[-1] == stop


async def test_without_a_seed_none_is_sent(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        await pool.generate(PROMPT, session="a", sampling=Sampling(max_tokens=2))
        body = fake.server.requests[-1].json()
    assert not {"seed", "sampling_seed"} & body.get("sampling_params", body).keys()


async def test_prefixes_are_shared_within_one_version_only(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        few = Sampling(max_tokens=1, seed=1)
        for _ in range(2):
            await pool.generate(PROMPT, session="a", sampling=few)
        assert fake.engine.stale_reads == 0
        async with pool.hold():
            fake.engine.weights["model.embed_tokens.weight"] = b"new"
            pool.version = 1
        made = await pool.generate(PROMPT, session="a", sampling=few)
    assert fake.engine.stale_reads == 0
    assert made.ids == tuple(expected(fake.engine, PROMPT, 1, 1))


@pytest.mark.parametrize("kind", ["vllm-0.32", "sglang-0.5.21"])
async def test_tokens_before_and_after_an_update_are_told_apart(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        fake.engine.label, pool.version = "3", 3
        fake.engine.token_s = 0.001
        sampling = Sampling(max_tokens=60, seed=1)
        request = asyncio.create_task(pool.generate(PROMPT, session="a", sampling=sampling))
        await fake.engine.reached(2)
        fake.engine.pause(abort=False)
        old = fingerprint(fake.engine.weights)
        fake.engine.weights, fake.engine.label = {"w": b"new"}, "4"
        fake.engine.resume()
        made = await request
    first, second = made.versions
    assert (first.version, second.version, second.end) == (3, 4, 60)
    assert first.end >= 2
    for at, token in enumerate(made.ids):
        weights = old if at < first.end else fingerprint({"w": b"new"})
        assert token == draw(weights, [*PROMPT, *made.ids[:at]], 1, 1000)[0]


async def test_ids_outside_the_vocabulary_never_reach_a_server(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        sent = len(fake.server.requests)
        for bad in ([5, 1000], [-1, 5], []):
            with pytest.raises(PolicyError, match=r"outside of 0\.\.999|at least one token"):
                await pool.generate(bad, session="a", sampling=Sampling())
        assert len(fake.server.requests) == sent


async def test_a_prompt_without_room_overflows_and_a_turn_gets_what_is_left(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        with pytest.raises(ContextOverflow, match="a prompt of 4096 tokens"):
            await pool.generate([5] * 4096, session="a", sampling=Sampling())
        made = await pool.generate([5] * 4090, session="a", sampling=Sampling(max_tokens=50))
        assert len(made.ids) == 6
        fake.engine.context_tokens = 100  # as if the server knew better
        with pytest.raises(ContextOverflow, match="maximum context length"):
            await pool.generate([5] * 100, session="a", sampling=Sampling(max_tokens=5))


async def test_a_refusal_is_not_tried_again(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        path = fake.server.requests[-1].path
        route = KINDS[kind][1]
        path = {"completions": "/v1/completions", "arrays": ARRAYS}.get(route, path)

        async def refuse() -> Response:
            return Response.of({"error": {"message": "no such adapter"}}, 404)

        fake.faults[path] = refuse
        sent = len(fake.server.requests)
        with pytest.raises(PolicyError, match="no such adapter") as caught:
            await pool.generate(PROMPT, session="a", sampling=Sampling())
        assert not isinstance(caught.value, PolicyUnavailable)
        assert len(fake.server.requests) == sent + 1


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"choices": [{}]}', b'{"output_ids": [1], "meta_info": {}}']
)
async def test_an_answer_of_another_kind_is_named(kind: str, body: bytes) -> None:
    async with opened(kind) as (pool, fake):

        async def garble() -> Response:
            return Response(body=body)

        for path in ("/generate", "/inference/v1/generate", "/v1/completions", ARRAYS):
            fake.faults[path] = garble
        with pytest.raises(PolicyError, match=fake.url):
            await pool.generate(PROMPT, session="a", sampling=Sampling())


NULL_ANSWERS: dict[str, object] = {
    "/inference/v1/generate": {
        "choices": [
            {
                "token_ids": [5, 6],
                "finish_reason": "stop",
                "logprobs": {"content": [{"logprob": -0.5}, {"logprob": None}]},
            }
        ]
    },
    ARRAYS: {"ids": [5, 6], "logprobs": [-0.5, None], "finish_reason": "stop"},
    "/v1/completions": {
        "choices": [
            {
                "token_ids": [5, 6],
                "finish_reason": "stop",
                "logprobs": {"token_logprobs": [-0.5, None]},
            }
        ]
    },
    "/generate": {
        "output_ids": [5, 6],
        "meta_info": {
            "finish_reason": {"type": "stop"},
            "output_token_logprobs": [[-0.5, 5, None], [None, 6, None]],
        },
    },
}
"""What servers send of a token whose log-probability is no number."""


async def test_a_logprob_that_is_no_number_costs_its_token_alone(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        for path, answer in NULL_ANSWERS.items():

            async def null(answer: object = answer) -> Response:
                return Response.of(answer)

            fake.faults[path] = null
        made = await pool.generate(PROMPT, session="a", sampling=Sampling())
    assert made.ids == (5, 6)
    assert (made.logprobs[0], math.isnan(made.logprobs[1])) == (-0.5, True)


async def test_logprobs_before_temperature_are_refused_on_opening(kind: str) -> None:
    fake = KINDS[kind][0]()
    fake.engine.processed_logprobs = False
    async with fake.serving():
        with pytest.raises(ConfigError, match="before temperature"):
            async with open_servers(config_of(kind, fake.url), vocab_size=1000):
                pass


async def test_a_server_that_nobody_runs_is_named_on_opening(kind: str) -> None:
    fake = KINDS[kind][0]()
    async with fake.serving():
        pass
    with pytest.raises(PolicyUnavailable, match=fake.url):
        async with open_servers(config_of(kind, fake.url), vocab_size=1000):
            pass


async def test_another_model_than_the_one_asked_for_is_named(kind: str) -> None:
    fake = KINDS[kind][0]()
    async with fake.serving():
        config = config_of(kind, fake.url).model_copy(update={"model": "other"})
        with pytest.raises(PolicyError, match=r"does not serve 'other' \(it serves 'policy'\)"):
            async with open_servers(config, vocab_size=1000):
                pass


async def test_vllm_without_its_token_route_says_which_option_opens_it() -> None:
    fake = FakeVllm(scale_out=False)
    async with fake.serving():
        with pytest.raises(PolicyError, match="--enable-scale-out"):
            async with open_servers(config_of("vllm-0.32", fake.url), vocab_size=1000):
                pass


async def test_a_paused_sglang_server_is_alive() -> None:
    fake = FakeSglang(health_generates=True)
    async with fake.serving():
        replica = SglangReplica(fake.url, SglangServersConfig(base_urls=(fake.url,)))
        await replica.open()
        fake.engine.pause(abort=False)
        await replica.probe()  # `/health` would generate a token, and fail after 20 seconds
        await replica.close()
    assert [request.path for request in fake.server.requests] == ["/model_info"]


async def test_requests_that_an_update_finds_in_sglangs_queue_are_sent_again() -> None:
    async with opened("sglang-0.5.17") as (pool, fake):
        fake.engine.pause(abort=False)
        sampling = Sampling(max_tokens=4, seed=1)
        request = asyncio.create_task(pool.generate(PROMPT, session="a", sampling=sampling))
        await fake.engine.reached(0)
        asked = len(fake.server.paths())
        fake.engine.pause(abort=True)  # answered with HTTP 499
        await until(lambda: len(fake.server.paths()) > asked)
        fake.engine.resume()
        assert list((await request).ids) == expected(fake.engine, PROMPT, 4, 1)
        assert (pool.counts.resent, pool.counts.deaths) == (1, 0)


async def test_greedy_requests_are_answered_on_every_route(kind: str) -> None:
    async with opened(kind) as (pool, fake):
        greedy = Sampling(max_tokens=3, temperature=0, seed=7)
        made = await pool.generate(PROMPT, session="a", sampling=greedy)
    assert list(made.ids) == expected(fake.engine, PROMPT, 3, 7)
    assert made.logprobs[0] == draw(fingerprint(fake.engine.weights), PROMPT, 7, 1000)[1]


@pytest.mark.parametrize("logprob", [-6.9077, -0.001])
async def test_a_flat_or_certain_distribution_tells_nothing_of_the_convention(
    kind: str, logprob: float
) -> None:
    fake = KINDS[kind][0]()
    fake.engine.processed_logprobs, fake.engine.top_logprob = False, logprob
    async with fake.serving(), open_servers(config_of(kind, fake.url), vocab_size=1000):
        pass


async def test_sglang_parts_its_cache_by_extra_key() -> None:
    async with opened("sglang-0.5.17") as (pool, fake):
        pool.version = 12
        await pool.generate(PROMPT, session="a", sampling=Sampling(max_tokens=1))
        body = fake.server.requests[-1].json()
    assert body["extra_key"] == "v12"


async def test_every_sglang_request_has_a_seed_of_its_own_or_members_would_be_clones() -> None:
    async with opened("sglang-0.5.17") as (pool, fake):

        async def sample(seed: int | None) -> tuple[int, ...]:
            sampling = Sampling(max_tokens=8, seed=seed)
            return (await pool.generate(PROMPT, session="a", sampling=sampling)).ids

        assert await sample(None) == await sample(None)  # what the server does: seed 42
        assert await sample(1) != await sample(2)
        assert set(fake.engine.seeds[-2:]) == {1, 2}


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://"])
def test_replicas_need_http_addresses(url: str) -> None:
    with pytest.raises(ValidationError, match=r"expected an http\(s\) address"):
        VllmServersConfig(base_urls=(url,))


def test_a_replica_is_named_once() -> None:
    with pytest.raises(ValidationError, match="http://a:1 is there twice"):
        VllmServersConfig(base_urls=("http://a:1", "http://b:1", "http://a:1/"))


async def test_a_missing_key_is_named() -> None:
    config = VllmServersConfig(base_urls=("http://127.0.0.1:9",), api_key_env="NO_SUCH_KEY")
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        async with open_servers(config, vocab_size=10):
            pass
