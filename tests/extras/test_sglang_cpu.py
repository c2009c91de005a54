"""The real SGLang server on a CPU: our checkpoints, log-probabilities, caches and updates.

One server is started by the engine's configuration and used by all tests, each of which may leave
it with newer weights: `served.model` is always what it samples with.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator
from typing import Literal

import pytest
import pytest_asyncio

from wideseek_core import Finish, Generated, PolicyError, Sampling
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.ipc import IpcTransport, SglangTensorWire
from wideseek_rl.sync.nccl import NcclTransport, SglangNcclWire
from wideseek_rl.sync.senders import TorchSender
from wideseek_rl.sync.servers import ServerSync

from .sglang_on_cpu import CONTEXT_TOKENS, VOCABULARY, Served, gaps, learn, missing
from .sglang_on_cpu import served as started

pytestmark = [
    pytest.mark.sglang,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # of its imports
]
EQUAL = 1e-4
"""Greatest mean difference of log-probabilities that rounding in float32 explains."""
Transfer = Literal["tensor", "distributed"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with started(tmp_path_factory.mktemp("sglang")) as running:
        yield running


def prompt(first: int, length: int = 24) -> list[int]:
    """Token ids that no other `first` begins with."""
    return [first, *(7 * number % VOCABULARY for number in range(1, length))]


async def ask(served: Served, ids: list[int], tokens: int = 40) -> Generated:
    sampling = Sampling(max_tokens=tokens)
    return await served.engine.generate(ids, session=str(ids[0]), sampling=sampling)


async def mean_gap(served: Served, model: Decoder, first: int) -> float:
    """Of four responses, to the log-probabilities of a model."""
    prompts = [prompt(first + number) for number in range(4)]
    made = await asyncio.gather(*(ask(served, ids) for ids in prompts))
    parts = [gaps(model, ids, one).mean().item() for ids, one in zip(prompts, made, strict=True)]
    return sum(parts) / len(parts)


def opened_sync(served: Served, transfer: Transfer, hold: str = "auto") -> ServerSync:
    """An update's parts, its tensors in the request or by a process group on the CPU.

    Without checksums, which the server computes on a GPU alone: log-probabilities show its weights.
    """
    source = served.trainer.weights
    transport = (
        IpcTransport(source, SglangTensorWire())
        if transfer == "tensor"
        else NcclTransport(source, SglangNcclWire(backend="gloo"), TorchSender(backend="gloo"))
    )
    config = SyncConfig.model_validate({"hold": hold, "verify": "none"})
    return ServerSync(served.engine.pool, [served.control], transport, source, config)


async def test_a_checkpoint_is_served_unchanged(served: Served) -> None:
    prompts = [prompt(100 + number) for number in range(8)]
    made = await asyncio.gather(*(ask(served, ids) for ids in prompts))
    for ids, one in zip(prompts, made, strict=True):
        assert (len(one.ids), one.finish) == (40, Finish.LENGTH)
        assert one.version == served.engine.pool.version
        assert gaps(served.model, ids, one).mean() < EQUAL
    assert len({one.ids for one in made}) == len(made)


async def test_token_ids_outside_of_the_vocabulary_do_not_reach_the_server(served: Served) -> None:
    for bad in (VOCABULARY, -1):
        with pytest.raises(PolicyError, match="token id"):
            await ask(served, [5, bad])
    assert len((await ask(served, [5, VOCABULARY - 1], 3)).ids) == 3


async def test_prefixes_are_shared_under_one_version_alone(served: Served) -> None:
    counts, ids = served.engine.pool.counts, prompt(200, 64)

    async def cached() -> int:
        before = counts.cached_tokens
        assert gaps(served.model, ids, await ask(served, ids, 20)).mean() < EQUAL
        return counts.cached_tokens - before

    assert await cached() == 0
    assert await cached() >= 60
    learn(served.trainer)
    await opened_sync(served, "tensor").publish(served.engine.pool.version + 1)
    assert await cached() == 0
    assert await cached() >= 60


@pytest.mark.parametrize("transfer", ["tensor", "distributed"])
async def test_an_update_brings_the_weights(served: Served, transfer: Transfer) -> None:
    sync, pool = opened_sync(served, transfer), served.engine.pool
    for round_ in range(2):
        old = copy.deepcopy(served.model)
        learn(served.trainer)
        assert await mean_gap(served, old, 210 + 10 * round_) < EQUAL
        version = pool.version + 1
        published = await sync.publish(version)
        assert (published.servers, published.failed) == (1, ())
        assert await pool.versions() == dict.fromkeys(pool.states, version)
        assert await mean_gap(served, served.model, 250 + 10 * round_) < EQUAL
        assert await mean_gap(served, old, 260 + 10 * round_) > 100 * EQUAL
    await sync.transport.close()


async def test_an_update_that_was_broken_off_does_not_keep_the_next_from_its_server(
    served: Served,
) -> None:
    await served.control.client.post("/begin_weight_update", {})
    learn(served.trainer)
    await opened_sync(served, "tensor").publish(served.engine.pool.version + 1)
    assert await mean_gap(served, served.model, 300) < EQUAL


@pytest.mark.parametrize("hold", ["always", "never"])
async def test_a_response_across_an_update_knows_which_weights_sampled_what(
    served: Served, hold: str
) -> None:
    sync, pool, ids = opened_sync(served, "tensor", hold=hold), served.engine.pool, prompt(320)
    tokens = 200
    while True:  # a response that has ended too early says nothing
        old, version = copy.deepcopy(served.model), pool.version
        long = asyncio.create_task(ask(served, ids, tokens))
        for _ in range(2):
            await ask(served, prompt(340), 10)  # so the long one is being sampled
        learn(served.trainer)
        await sync.publish(version + 1)
        made = await long
        assert len(made.ids) == tokens
        if len(made.versions) > 1:
            break
        tokens *= 2
        assert tokens < CONTEXT_TOKENS - len(ids)
    first, second = made.versions
    assert (first.version, second.version) == (version, version + 1)
    border = first.end
    assert gaps(old, ids, made)[:border].mean() < EQUAL
    if hold == "never":  # the prefix is computed again, so all that follows is of the new weights
        assert gaps(served.model, ids, made)[border:].mean() < EQUAL
    assert gaps(old, ids, made)[border:].mean() > 100 * EQUAL
