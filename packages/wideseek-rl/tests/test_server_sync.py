"""Weight updates of vLLM and SGLang servers, against fakes that speak their wire formats."""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from wideseek_core import TrainError
from wideseek_core.testing import FakeEngine, FakeSglang, FakeVllm, Response, until
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.digest import digest
from wideseek_rl.sync.ipc import IpcTransport, SglangTensorWire, VllmIpcWire, packed
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.sync.source import ModuleSource

Fake = FakeVllm | FakeSglang
KINDS: dict[str, Callable[[], Fake]] = {
    "vllm-0.23": lambda: FakeVllm(version=(0, 23), checksum=lambda data: digest(as_tensor(data))),
    "vllm-0.32": lambda: FakeVllm(version=(0, 32)),
    "sglang-0.5.17": lambda: FakeSglang(version=(0, 5, 17)),
    "sglang-0.5.21": lambda: FakeSglang(version=(0, 5, 21)),
}
UPDATE = {"vllm": "/update_weights", "sglang": "/update_weights_from_tensor"}


def as_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def pickled(value: Any, rank: int) -> bytes:
    assert rank == 0
    return pickle.dumps({**value, "flattened_tensor": as_bytes(value["flattened_tensor"])})


class Layer(nn.Module):
    """A layer with the names of a Hugging Face checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        for name, rows in (("q_proj", 8), ("k_proj", 4), ("v_proj", 4), ("o_proj", 8)):
            self.add_module(name, nn.Linear(8, rows, bias=False))


def model(seed: int = 0) -> nn.ModuleDict:
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    return nn.ModuleDict({"embed_tokens": nn.Embedding(64, 8), "self_attn": Layer()})


@dataclass
class Pool:
    """Remembers what a pool is asked."""

    urls: list[str]
    version: int = 0
    removed: dict[str, str] = field(default_factory=dict[str, str])
    current: list[str] = field(default_factory=list[str])
    held: int = 0
    dead: list[str] = field(default_factory=list[str])

    @property
    def states(self) -> dict[str, str]:
        return {url: "dead" if url in self.dead else "ready" for url in self.urls}

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def remove(self, url: str, problem: str = "") -> None:
        self.removed[url] = problem

    def mark_current(self, url: str) -> None:
        self.current.append(url)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def family(kind: str) -> str:
    return kind.partition("-")[0]


@dataclass
class Setup:
    servers: list[Fake]
    pool: Pool
    sync: ServerSync
    module: nn.Module

    def expect_hanging(self, number: int, **limits: float) -> None:
        """Bounds the requests that a server does not answer; all others have minutes."""
        self.sync.servers[number].client.config = ControlConfig.model_validate(limits)


@asynccontextmanager
async def opened(
    kind: str, count: int = 1, bucket_bytes: int = 2**30, **settings: Any
) -> AsyncGenerator[Setup]:
    async with AsyncExitStack() as stack:
        servers = [KINDS[kind]() for _ in range(count)]
        for server in servers:
            await stack.enter_async_context(server.serving())
        module = model()
        source = ModuleSource(module, torch.bfloat16)
        wire = (
            VllmIpcWire(export=as_bytes, uuid=lambda _: "GPU-0")
            if family(kind) == "vllm"
            else SglangTensorWire(pickled=pickled)
        )
        control = VllmControl if family(kind) == "vllm" else SglangControl
        settings = {"verify": "all" if family(kind) == "vllm" else "none", **settings}
        pool = Pool([server.url for server in servers])
        yield Setup(
            servers,
            pool,
            ServerSync(
                pool,
                [control(server.url) for server in servers],
                IpcTransport(source, wire, bucket_bytes),
                source,
                SyncConfig.model_validate(settings),
            ),
            module,
        )


def sent(module: nn.Module) -> dict[str, bytes]:
    tensors = {name: as_bytes(p.detach().bfloat16()) for name, p in module.named_parameters()}
    joined = b"".join(tensors.pop(f"self_attn.{part}_proj.weight") for part in "qkv")
    return {**tensors, "self_attn.qkv_proj.weight": joined}


def got(server: Fake) -> dict[str, bytes]:
    return {n: t for n, t in server.engine.weights.items() if n != "model.embed_tokens.weight"}


async def hang() -> Response:
    await asyncio.Event().wait()
    raise AssertionError


def late(seconds: float) -> Callable[[], Awaitable[Response | None]]:
    async def wait() -> None:
        await asyncio.sleep(seconds)

    return wait


def updates(server: Fake) -> int:
    return sum(path in UPDATE.values() for path in server.server.paths())


def count(paths: Sequence[str], *names: str) -> int:
    return sum(path.rpartition("?")[0] in names or path in names for path in paths)


async def test_every_server_gets_all_weights_as_the_engine_computes_them(kind: str) -> None:
    async with opened(kind, count=2) as setup:
        published = await setup.sync.publish(1)
        for server in setup.servers:
            assert got(server) == sent(setup.module)
            assert not server.engine.paused
            assert updates(server) == 1
        assert (published.servers, published.failed) == (2, ())
        assert (setup.pool.version, setup.pool.current) == (1, setup.pool.urls)
        assert setup.pool.held == 0


async def test_large_models_travel_in_buckets(kind: str) -> None:
    async with opened(kind, bucket_bytes=200) as setup:
        await setup.sync.publish(1)
        assert got(setup.servers[0]) == sent(setup.module)
        assert updates(setup.servers[0]) > 2


async def test_new_weights_carry_their_version_as_label(kind: str) -> None:
    async with opened(kind) as setup:
        await setup.sync.publish(1)
        with torch.no_grad():
            setup.module.load_state_dict(model(seed=1).state_dict())
        await setup.sync.publish(2)
        assert got(setup.servers[0]) == sent(setup.module)
        label = setup.servers[0].engine.label
        assert label == ("default" if kind == "vllm-0.23" else "2")  # 0.23 keeps none


async def test_no_version_is_sent_twice(kind: str) -> None:
    async with opened(kind) as setup:
        await setup.sync.publish(3)
        for old in (3, 2):
            with pytest.raises(TrainError, match="sent already"):
                await setup.sync.publish(old)
        assert updates(setup.servers[0]) == 1


async def test_requests_are_held_only_where_tokens_of_two_versions_are_told_apart(
    kind: str,
) -> None:
    async with opened(kind) as setup:
        await setup.sync.publish(1)
        (pause,) = [
            r for r in setup.servers[0].server.requests if "pause" in r.path and r.method == "POST"
        ]
        mode = pause.option("mode") or pause.json()["mode"]
        held = {"vllm-0.32": "keep", "sglang-0.5.21": "in_place"}
        assert mode == held.get(kind, "abort")


async def test_what_is_too_old_is_cancelled_before_anything_is_paused(kind: str) -> None:
    async with opened(kind) as setup:
        engine = setup.servers[0].engine
        seen: list[tuple[int, bool]] = []

        async def cancel(version: int) -> None:
            seen.append((version, engine.paused))

        setup.sync.cancel_stale = cancel
        await setup.sync.publish(4)
        assert seen == [(4, False)]


@pytest.mark.parametrize("before", [0, 1])  # then checksums are computed beside the servers
async def test_a_server_with_other_tensors_than_were_sent_leaves_the_pool(before: int) -> None:
    for kind in ("vllm-0.23", "vllm-0.32"):
        async with opened(kind, count=2) as setup:
            for version in range(before):
                assert not (await setup.sync.publish(version)).failed
            setup.servers[1].corrupt = True
            published = await setup.sync.publish(before)
            url = setup.servers[1].url
            assert published.failed == (url,)
            assert "not as they were sent: 1 tensor, embed_tokens.weight" in setup.pool.removed[url]
            assert not setup.servers[1].engine.paused


@pytest.mark.parametrize(
    "fault", [hang, late(0.4)], ids=["never answers", "answers after the time-out"]
)
async def test_an_update_without_an_answer_costs_that_server_alone_and_is_not_repeated(
    kind: str, fault: Callable[[], Awaitable[Response | None]]
) -> None:
    async with opened(kind, count=2) as setup:
        setup.servers[0].faults[UPDATE[family(kind)]] = fault
        setup.expect_hanging(0, transfer_timeout_s=0.2)
        await setup.sync.publish(1)
        assert list(setup.pool.removed) == [setup.servers[0].url]
        assert "no answer within 0.2 s" in setup.pool.removed[setup.servers[0].url]
        assert got(setup.servers[1]) == sent(setup.module)
        assert not setup.servers[0].engine.paused  # nobody may be left waiting
        await setup.sync.publish(2)
        await asyncio.sleep(0.3)
        assert [updates(server) for server in setup.servers] == [1, 2]


async def test_a_server_killed_in_an_update_costs_itself_alone(kind: str) -> None:
    async with opened(kind, count=2) as setup:
        server = setup.servers[0]

        killing: list[asyncio.Task[None]] = []

        async def die() -> None:
            killing.append(asyncio.create_task(server.server.kill()))
            await hang()

        server.faults[UPDATE[family(kind)]] = die
        published = await setup.sync.publish(1)
        assert published.failed == (server.url,)
        assert server.url in setup.pool.removed[server.url]
        assert got(setup.servers[1]) == sent(setup.module)


async def test_a_run_ends_with_the_reason_when_no_server_has_the_weights(kind: str) -> None:
    async with opened(kind) as setup:
        server = setup.servers[0]
        server.faults[UPDATE[family(kind)]] = hang
        setup.expect_hanging(0, transfer_timeout_s=0.2)
        with pytest.raises(TrainError, match=rf"version 1 did not reach.*{server.url}.*no answer"):
            await setup.sync.publish(1)
        assert setup.pool.version == 0
        assert not server.engine.paused
        assert setup.pool.held == 0


async def test_a_run_may_end_at_the_first_failure(kind: str) -> None:
    async with opened(kind, count=2, on_failure="end") as setup:
        setup.servers[0].faults[UPDATE[family(kind)]] = hang
        setup.expect_hanging(0, transfer_timeout_s=0.2)
        with pytest.raises(TrainError, match=setup.servers[0].url):
            await setup.sync.publish(1)
        assert setup.pool.removed == {}


async def test_a_server_that_does_not_pause_is_named_and_left_out(kind: str) -> None:
    async with opened(kind, count=2) as setup:
        for path in ("/pause", "/pause_generation"):
            setup.servers[0].faults[path] = hang
        await setup.sync.servers[0].inspect()
        setup.expect_hanging(0, call_timeout_s=0.2)
        await setup.sync.publish(1)
        problem = setup.pool.removed[setup.servers[0].url]
        assert setup.servers[0].url in problem
        assert "no answer within 0.2 s (POST /pause" in problem
        assert updates(setup.servers[0]) == 0


async def test_a_cancelled_update_leaves_no_server_paused(kind: str) -> None:
    async with opened(kind) as setup:
        server = setup.servers[0]
        server.faults[UPDATE[family(kind)]] = hang
        publishing = asyncio.create_task(setup.sync.publish(1))
        await until(lambda: updates(server) > 0)
        assert server.engine.paused
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert not server.engine.paused


async def test_held_requests_never_meet_a_flush() -> None:
    for kind in ("sglang-0.5.17", "sglang-0.5.21"):
        async with opened(kind, hold="always") as setup:
            server = setup.servers[0]
            assert isinstance(server, FakeSglang)
            server.engine.hold_at = 2
            parameters = {"max_tokens": 30, "temperature": 1.0}
            request = asyncio.create_task(server.engine.sample("r", [1, 2], parameters, "v0"))
            await server.engine.reached(2)
            await setup.sync.publish(1)
            server.engine.hold_at = None
            made, end = await request
            assert (len(made.ids), end) == (30, "length")
            assert server.crashed == ""
            assert server.updates[0]["flush_cache"] is False
            assert "/flush_cache" not in server.server.paths()


async def test_sglang_is_told_where_the_tensors_of_an_update_begin_and_end() -> None:
    async with opened("sglang-0.5.21", bucket_bytes=200) as setup:
        await setup.sync.publish(1)
        paths = setup.servers[0].server.paths()
        begin, end = paths.index("/begin_weight_update"), paths.index("/end_weight_update")
        sent_between = paths[begin + 1 : end]
        assert set(sent_between) == {"/update_weights_from_tensor"}
        assert len(sent_between) == updates(setup.servers[0]) > 1


async def test_an_update_that_was_broken_off_does_not_keep_the_next_from_its_server() -> None:
    async with opened("sglang-0.5.21") as setup:
        server = setup.servers[0]
        assert isinstance(server, FakeSglang)
        server.faults["/update_weights_from_tensor"] = hang
        publishing = asyncio.create_task(setup.sync.publish(1))
        await until(lambda: updates(server) > 0)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert server.session
        server.faults.clear()
        await setup.sync.publish(2)
        assert got(server) == sent(setup.module)
        assert not server.session


def test_tensors_of_the_cpu_travel_by_their_content() -> None:
    tensor = torch.arange(5.0)
    blob = packed({"flattened_tensor": tensor}, 0)
    assert as_bytes(tensor) in blob  # a server can't ask this process for its memory
    assert torch.equal(pickle.loads(blob)["flattened_tensor"], tensor)


async def test_a_reset_cache_must_be_confirmed() -> None:
    async with opened("vllm-0.32", invalidate="reset") as setup:
        await setup.sync.publish(1)
        assert "/reset_prefix_cache" in setup.servers[0].server.paths()

        async def refuse() -> Response:
            return Response.of({"success": False})

        setup.servers[0].faults["/reset_prefix_cache"] = refuse
        with pytest.raises(TrainError, match="reports a failure"):
            await setup.sync.publish(2)
    async with opened("vllm-0.23", invalidate="reset") as setup:
        with pytest.raises(TrainError, match="does not say whether its prefix cache was reset"):
            await setup.sync.publish(1)


async def test_released_weights_are_sent_again(kind: str) -> None:
    async with opened(kind, release="all") as setup:
        server = setup.servers[0]
        await setup.sync.publish(1)
        async with setup.sync.updating() as commit:
            assert server.engine.weights == {}
            assert setup.pool.held == 1
            commit(2)
        assert got(server) == sent(setup.module)
        async with setup.sync.updating():
            pass  # nothing was committed, but the weights are gone all the same
        assert got(server) == sent(setup.module)
        assert updates(server) == 3
        assert not server.engine.paused
        assert setup.pool.version == 2


async def test_an_update_that_fails_gives_the_memory_back(kind: str) -> None:
    async with opened(kind, release="cache") as setup:
        server = setup.servers[0]
        with pytest.raises(ZeroDivisionError):
            async with setup.sync.updating():
                raise ZeroDivisionError
        assert (server.asleep if isinstance(server, FakeVllm) else len(server.released)) in (-1, 0)
        assert not server.engine.paused


RELEASING = {
    "release": ("/sleep", "/release_memory_occupation"),
    "restore": ("/wake_up", "/resume_memory_occupation"),
}


async def refuse() -> Response:
    return Response.of({"detail": "out of memory"}, 500)


@pytest.mark.parametrize("what", RELEASING)
async def test_a_server_that_fails_to_give_or_take_memory_leaves_the_others(
    kind: str, what: str
) -> None:
    async with opened(kind, count=2, release="all") as setup:
        for path in RELEASING[what]:
            setup.servers[1].faults[path] = refuse
        async with setup.sync.updating() as commit:
            commit(1)
        assert list(setup.pool.removed) == [setup.servers[1].url]
        assert got(setup.servers[0]) == sent(setup.module)
        assert (updates(setup.servers[1]), setup.pool.version) == (0, 1)
        assert not setup.servers[0].engine.paused
        assert setup.servers[1].engine.paused == (what == "restore")  # it has no weights then


async def test_a_server_that_has_died_is_not_asked_for_its_memory(kind: str) -> None:
    async with opened(kind, count=2, release="all", on_failure="end") as setup:
        await setup.servers[1].server.kill()
        setup.pool.dead.append(setup.servers[1].url)
        async with setup.sync.updating() as commit:
            commit(1)
        assert (updates(setup.servers[0]), setup.pool.version) == (1, 1)


async def test_where_memory_is_not_given_back_the_other_servers_sample_on(kind: str) -> None:
    async with opened(kind, count=2, release="all", on_failure="end") as setup:
        for path in RELEASING["release"]:
            setup.servers[1].faults[path] = refuse
        with pytest.raises(TrainError, match=r"did not release their memory: .*out of memory"):
            async with setup.sync.updating():
                raise AssertionError("nothing is trained")
        for server in setup.servers:
            asleep = server.asleep if isinstance(server, FakeVllm) else len(server.released)
            assert asleep in (-1, 0)
            assert not server.engine.paused


async def test_without_a_commit_nothing_is_sent(kind: str) -> None:
    async with opened(kind) as setup:
        async with setup.sync.updating():
            pass
        assert updates(setup.servers[0]) == 0
        async with setup.sync.updating() as commit:
            commit(1)
        assert updates(setup.servers[0]) == 1


async def test_a_vllm_server_without_control_routes_says_how_to_start_it() -> None:
    server = FakeVllm()

    async def absent() -> Response:
        return Response.of({"detail": "Not Found"}, 404)

    server.faults["/is_paused"] = absent
    async with server.serving():
        with pytest.raises(TrainError, match="VLLM_SERVER_DEV_MODE=1"):
            await VllmControl(server.url).inspect()


async def test_control_requests_are_sent_once(kind: str) -> None:
    async with opened(kind) as setup:

        async def fail() -> Response:
            return Response.of({"detail": "engine overloaded"}, 503)

        control: ServerControl = setup.sync.servers[0]
        for path in ("/resume", "/continue_generation"):
            setup.servers[0].faults[path] = fail
        with pytest.raises(TrainError, match=r"HTTP 503.*engine overloaded.*POST /"):
            await control.resume()
        assert count(setup.servers[0].server.paths(), "/resume", "/continue_generation") == 1


def test_a_fake_knows_old_from_new_weights() -> None:
    engine = FakeEngine()
    engine.load({"a.q_proj.weight": b"q", "a.k_proj.weight": b"k", "a.v_proj.weight": b"v"})
    assert engine.weights["a.qkv_proj.weight"] == b"qkv"
