"""Weights through NCCL: who joins as which rank, both ends at once, and ranks that fail."""

import asyncio
import ctypes
import pickle
import re
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from wideseek_core import ConfigError, TrainError
from wideseek_core.testing import FakeSglang, FakeVllm, Response, until
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.nccl import NcclTransport, SglangNcclWire, VllmNcclWire
from wideseek_rl.sync.nccl_library import IDENTIFIER_BYTES, new_identifier, open_communicator
from wideseek_rl.sync.plain_vllm import packs, pickled_identifier
from wideseek_rl.sync.senders import NewVllmSender, OldVllmSender
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.sync.source import ModuleSource, WeightSource

Fake = FakeVllm | FakeSglang


def as_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@dataclass
class Sender:
    """Replaces a communicator: servers get what it broadcasts, once all of them listen."""

    listeners: int = 1
    joined: dict[str, Any] = field(default_factory=dict[str, Any])
    tensors: dict[str, bytes] = field(default_factory=dict[str, bytes])
    left: bool = False
    listening: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    sent: threading.Event = field(default_factory=threading.Event)

    def join(self, address: str, port: int, world_size: int) -> None:
        self.joined = {"address": address, "port": port, "world_size": world_size}

    def init_fields(self) -> dict[str, Any]:
        return {"packed": True, "packed_buffer_size_bytes": 7}

    def update_fields(self) -> dict[str, Any]:
        return self.init_fields()

    def broadcast(self, source: WeightSource) -> None:
        for _ in range(self.listeners):
            self.listening.acquire()
        self.tensors = {name: as_bytes(tensor) for name, tensor in source.tensors()}
        self.sent.set()

    def leave(self) -> None:
        self.left = True

    async def receive(self, _body: dict[str, Any]) -> dict[str, bytes]:
        self.listening.release()
        await until(self.sent.is_set)
        return dict(self.tensors)


@asynccontextmanager
async def opened(
    servers: list[Fake], sender: Sender
) -> AsyncGenerator[tuple[NcclTransport, list[VllmControl | SglangControl], nn.Module]]:
    module = nn.ModuleDict({"norm": nn.LayerNorm(4), "out": nn.Linear(4, 2, bias=False)})
    async with AsyncExitStack() as stack:
        for server in servers:
            server.receive = sender.receive
            await stack.enter_async_context(server.serving())
        is_vllm = isinstance(servers[0], FakeVllm)
        wire = VllmNcclWire() if is_vllm else SglangNcclWire(ranks=2)
        transport = NcclTransport(ModuleSource(module), wire, sender, port=29_000)
        control = VllmControl if is_vllm else SglangControl
        yield transport, [control(server.url) for server in servers], module


async def test_vllm_workers_join_behind_the_trainer_one_server_after_another() -> None:
    servers: list[Fake] = [FakeVllm(version=(0, 23)), FakeVllm(version=(0, 32))]
    sender = Sender(listeners=2)
    async with opened(servers, sender) as (transport, controls, module):
        assert await transport.connect(controls) == {}
        assert sender.joined == {"address": "127.0.0.1", "port": 29_000, "world_size": 3}
        infos = [server.init_info for server in servers if isinstance(server, FakeVllm)]
        assert [info and info["rank_offset"] for info in infos] == [1, 2]
        assert all(info is not None and info["world_size"] == 3 for info in infos)
        assert await transport.send(controls, 5) == {}
        for server in servers:
            assert isinstance(server, FakeVllm)
            for name, parameter in module.named_parameters():
                assert server.engine.weights[name] == as_bytes(parameter.detach())
            (info,) = server.updates
            assert info["names"] == ["norm.weight", "norm.bias", "out.weight"]
            assert info["dtype_names"] == ["float32"] * 3
            assert info["shapes"] == [[4], [4], [2, 4]]
            assert server.init_info is not None
            told = (server.init_info, info)[server.version < (0, 29)]
            assert (told["packed"], told["packed_buffer_size_bytes"]) == (True, 7)
            other = (info, server.init_info)[server.version < (0, 29)]
            assert "packed" not in other  # which that release would refuse
        assert servers[1].engine.label == "5"
        await transport.close()
        assert sender.left


async def test_sglang_workers_join_a_named_group_and_nothing_is_flushed() -> None:
    servers: list[Fake] = [FakeSglang(), FakeSglang()]
    async with opened(servers, Sender(listeners=2)) as (transport, controls, _):
        assert await transport.connect(controls) == {}
        groups = [server.group for server in servers if isinstance(server, FakeSglang)]
        assert [group and group["rank_offset"] for group in groups] == [1, 3]
        assert groups[0] is not None
        assert (groups[0]["world_size"], groups[0]["backend"]) == (5, "nccl")
        assert await transport.send(controls, 5) == {}
        for server in servers:
            assert isinstance(server, FakeSglang)
            (body,) = server.updates
            assert body["flush_cache"] is False
            assert (body["weight_version"], body["group_name"]) == ("5", groups[0]["group_name"])
            assert body["dtypes"] == ["float32"] * 3


async def test_a_server_that_refuses_does_not_leave_the_sender_waiting_for_ever() -> None:
    servers: list[Fake] = [FakeVllm()]

    async def refuse() -> Response:
        return Response.of({"detail": "bad shapes"}, 400)

    servers[0].faults["/update_weights"] = refuse
    async with opened(servers, Sender()) as (transport, controls, _):
        await transport.connect(controls)
        failures = await transport.send(controls, 1)
        assert "bad shapes" in str(failures[servers[0].url])
        again = await transport.send(controls, 2)  # the group hangs in a collective call
        assert "incomplete" in str(again[servers[0].url])
        assert (
            len(servers[0].server.paths()) == servers[0].server.paths().index("/update_weights") + 1
        )


async def test_a_server_that_can_not_join_does_not_leave_the_sender_waiting_for_ever() -> None:
    servers: list[Fake] = [FakeVllm(), FakeVllm()]

    async def refuse() -> Response:
        return Response.of({"detail": "NCCL error: invalid usage"}, 500)

    class Waits(Sender):
        def join(self, address: str, port: int, world_size: int) -> None:
            self.sent.wait(600)  # for a rank that never comes

    sender = Waits()
    servers[1].faults["/init_weight_transfer_engine"] = refuse
    async with opened(servers, sender) as (transport, controls, _):
        failures = await transport.connect(controls)
        assert set(failures) == {server.url for server in servers}
        assert all("invalid usage" in str(error) for error in failures.values())
        again = await transport.send(controls, 1)
        assert "incomplete" in str(again[servers[0].url])
        sender.sent.set()


async def test_a_server_that_never_receives_breaks_the_group_of_all() -> None:
    servers: list[Fake] = [FakeVllm(), FakeVllm()]

    async def hang() -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    servers[0].faults["/update_weights"] = hang
    async with opened(servers, Sender(listeners=2)) as (transport, controls, _):
        await transport.connect(controls)
        # From here on nothing that is bounded by these is ever answered.
        transport.timeout_s = 0.2
        for control in controls:
            control.client.config = ControlConfig(transfer_timeout_s=0.2)
        failures = await transport.send(controls, 1)
        assert set(failures) == {server.url for server in servers}
        assert all("no answer within" in str(error) for error in failures.values())
        assert "incomplete" in str((await transport.send(controls, 2))[servers[1].url])


async def test_a_missing_member_is_found_before_anything_is_sent() -> None:
    servers: list[Fake] = [FakeVllm(), FakeVllm()]
    async with opened(servers, Sender(listeners=2)) as (transport, controls, _):
        await transport.connect(controls)
        failures = await transport.send(controls[:1], 1)
        assert servers[1].url in str(failures[servers[0].url])
        assert "/update_weights" not in servers[0].server.paths()


async def test_a_rendezvous_that_fails_names_itself() -> None:
    class Lonely(Sender):
        def join(self, address: str, port: int, world_size: int) -> None:
            raise ConnectionError("address in use")

    servers: list[Fake] = [FakeVllm()]
    async with opened(servers, Lonely()) as (transport, controls, _):
        failures = await transport.connect(controls)
        assert isinstance(failures[servers[0].url], TrainError)
        assert "joining NCCL failed: ConnectionError: address in use" in str(
            failures[servers[0].url]
        )


def published_by(
    transport: NcclTransport, controls: list[VllmControl | SglangControl], module: nn.Module
) -> ServerSync:
    pool = Pool([control.client.url for control in controls])
    config = SyncConfig(verify="none")
    return ServerSync(pool, controls, transport, ModuleSource(module), config)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize("place", ["taken", "elsewhere", "unknown"])
async def test_a_place_where_the_trainer_can_not_listen_ends_the_run_in_one_line(
    kind: str, place: str
) -> None:
    address = {"elsewhere": "192.0.2.1", "unknown": "no..host"}.get(place, "127.0.0.1")
    servers: list[Fake] = [FakeVllm(), FakeVllm()]
    if kind == "sglang":
        servers = [FakeSglang(), FakeSglang()]
    sender = Sender(listeners=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with opened(servers, sender) as (transport, controls, module):
            transport.address = address
            transport.port = port if place == "taken" else 0
            sync = published_by(transport, controls, module)
            wrong = f"sync.master_address={address} sync.master_port={transport.port}: the trainer"
            for version in (1, 2):
                with pytest.raises(ConfigError, match=re.escape(wrong)) as ended:
                    await sync.publish(version)
                assert "\n" not in str(ended.value)
            assert sender.joined == {}
            assert not any("/init_weight" in path for s in servers for path in s.server.paths())
            if place == "taken":  # the address is right
                taken.close()
                await sync.publish(3)
                assert sender.joined["port"] == port


async def test_what_concerns_all_servers_is_said_once() -> None:
    trace = "no route\nException raised from connect (most recent call first):\nframe #0: c10"

    class Lonely(Sender):
        def join(self, address: str, port: int, world_size: int) -> None:
            raise RuntimeError(trace)

    servers: list[Fake] = [FakeVllm(), FakeVllm()]
    async with opened(servers, Lonely()) as (transport, controls, module):
        with pytest.raises(TrainError) as ended:
            await published_by(transport, controls, module).publish(1)
    problem = "joining NCCL failed: RuntimeError: no route"
    assert str(ended.value) == f"version 1 did not reach the engines: {problem}"


def source() -> ModuleSource:
    return ModuleSource(nn.Linear(2, 2, bias=False), torch.bfloat16)


def test_the_old_trainer_interface_of_vllm_gets_the_same_buffers_as_the_servers() -> None:
    calls: list[tuple[Any, ...]] = []

    class Engine:
        @staticmethod
        def trainer_init(place: dict[str, Any]) -> str:
            calls.append(("init", place))
            return "group"

        @staticmethod
        def trainer_send_weights(tensors: Iterator[Any], arguments: Any) -> None:
            calls.append(("send", [name for name, _ in tensors], arguments))

    module = SimpleNamespace(
        NCCLWeightTransferEngine=Engine, NCCLTrainerSendWeightsArgs=SimpleNamespace
    )
    sender = OldVllmSender(module, buffer_bytes=64)
    sender.join("10.0.0.1", 5, 3)
    sender.broadcast(source())
    place = {"master_address": "10.0.0.1", "master_port": 5, "world_size": 3}
    assert calls[0] == ("init", place)
    expected = SimpleNamespace(group="group", packed=True, packed_buffer_size_bytes=64)
    assert calls[1] == ("send", ["weight"], expected)
    assert sender.update_fields() == {"packed": True, "packed_buffer_size_bytes": 64}
    assert sender.init_fields() == {}


def test_the_new_trainer_interface_of_vllm_pulls_from_our_source() -> None:
    class Engine:
        made: "ClassVar[list[Engine]]" = []
        shut = False

        def __init__(self, info: Any, client: Any, source: Any) -> None:
            self.info, self.client, self.source = info, client, source
            self.sent: list[list[str]] = []
            self.made.append(self)

        @classmethod
        def trainer_init(cls, info: Any, *, client: Any, source: Any) -> "Engine":
            client.init_weight_transfer_engine({})
            return cls(info, client, source)

        def send_weights(self) -> None:
            self.client.start_weight_update()
            self.client.update_weights({})
            self.sent.append([name for name, _ in self.source])
            self.client.finish_weight_update()

        def shutdown(self) -> None:
            self.shut = True

    module = SimpleNamespace(
        NCCLTrainerWeightTransferEngine=Engine, NCCLTrainerInitInfo=SimpleNamespace
    )
    sender = NewVllmSender(module, buffer_bytes=64)
    sender.join("10.0.0.1", 5, 3)
    sender.broadcast(source())
    sender.broadcast(source())
    (trainer,) = Engine.made
    assert trainer.info == SimpleNamespace(
        master_address="10.0.0.1",
        master_port=5,
        world_size=3,
        packed=True,
        packed_buffer_size_bytes=64,
        rank=0,
    )
    assert trainer.sent == [["weight"], ["weight"]]
    assert trainer.source.held_names() is None
    assert sender.init_fields() == {"packed": True, "packed_buffer_size_bytes": 64}
    assert sender.update_fields() == {}
    sender.leave()
    assert trainer.shut


@dataclass
class Pool:
    """Remembers which servers are in use."""

    urls: list[str]
    version: int = 0
    removed: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def states(self) -> dict[str, str]:
        return dict.fromkeys(self.urls, "ready")

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        yield

    async def remove(self, url: str, problem: str = "") -> None:
        self.urls.remove(url)
        self.removed[url] = problem

    def mark_current(self, url: str) -> None:
        if url not in self.urls:
            self.urls.append(url)


async def refuse_to_join() -> Response:
    return Response.of({"detail": "NCCL error: unhandled system error"}, 500)


@dataclass
class Group:
    """Two servers with version 1, and a third one that is there again."""

    servers: list[Fake]
    controls: list[VllmControl | SglangControl]
    sync: ServerSync
    pool: Pool


@asynccontextmanager
async def grouped(**settings: Any) -> AsyncGenerator[Group]:
    servers: list[Fake] = [FakeVllm(), FakeVllm(), FakeVllm()]
    sender = Sender(listeners=2)
    async with opened(servers, sender) as (transport, controls, module):
        pool = Pool([server.url for server in servers[:2]])
        config = SyncConfig.model_validate({"verify": "none", **settings})
        sync = ServerSync(pool, controls[:2], transport, ModuleSource(module), config)
        await sync.publish(1)
        yield Group(servers, controls, sync, pool)


async def test_a_member_that_fails_while_another_is_admitted_leaves_in_its_place() -> None:
    async with grouped() as group:
        old, kept, new = group.servers
        old.faults["/init_weight_transfer_engine"] = refuse_to_join
        await group.sync.admit(group.controls[2])
        assert list(group.pool.removed) == [old.url]
        assert "unhandled system error" in group.pool.removed[old.url]
        assert group.pool.urls == [kept.url, new.url]
        assert new.engine.weights == kept.engine.weights != {}
        await group.sync.publish(2)
        assert [server.engine.label for server in group.servers] == ["1", "2", "2"]


async def test_a_newcomer_that_fails_is_blamed_itself_and_the_others_stay() -> None:
    async with grouped() as group:
        new = group.servers[2]
        new.faults["/init_weight_transfer_engine"] = refuse_to_join
        with pytest.raises(TrainError, match=rf"{new.url}.*unhandled system error"):
            await group.sync.admit(group.controls[2])
        assert group.pool.removed == {}
        await group.sync.publish(2)
        assert [server.engine.label for server in group.servers[:2]] == ["2", "2"]


async def test_a_member_that_fails_is_named_where_failures_end_the_run() -> None:
    async with grouped(on_failure="end") as group:
        old = group.servers[0]
        old.faults["/init_weight_transfer_engine"] = refuse_to_join
        with pytest.raises(TrainError, match=rf"{old.url}.*unhandled system error"):
            await group.sync.admit(group.controls[2])
        with pytest.raises(TrainError, match=rf"version 2 did not reach.*{old.url}"):
            await group.sync.publish(2)


async def test_a_cancelled_transfer_leaves_no_task_behind() -> None:
    servers: list[Fake] = [FakeVllm()]

    async def hang() -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    servers[0].faults["/update_weights"] = hang
    sender = Sender(listeners=2)
    async with opened(servers, sender) as (transport, controls, _):
        await transport.connect(controls)
        sending = asyncio.create_task(transport.send(controls, 1))
        await until(lambda: "/update_weights" in servers[0].server.paths())
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        left = [repr(task) for task in asyncio.all_tasks()]
        assert not [task for task in left if "on_each" in task or "in_thread" in task]
        for _ in range(2):
            sender.listening.release()  # lets the abandoned thread end


async def test_an_error_that_is_no_servers_failure_is_raised_at_once() -> None:
    class Broken(VllmNcclWire):
        async def join(self, server: Any, group: dict[str, Any]) -> None:
            raise KeyError("a bug")

    class Waits(Sender):
        def join(self, address: str, port: int, world_size: int) -> None:
            self.sent.wait(60)

    sender = Waits()
    servers: list[Fake] = [FakeVllm()]
    async with opened(servers, sender) as (transport, controls, _):
        transport.wire = Broken()
        with pytest.raises(KeyError, match="a bug"):
            await transport.connect(controls)
        sender.sent.set()


class Unpacked(ctypes.Structure):
    """NCCL's identifier as vLLM declares it."""

    _fields_: ClassVar = [("internal", ctypes.c_byte * 128)]


def test_the_identifier_of_a_group_is_what_workers_of_vllm_unpickle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "vllm.distributed.device_communicators.pynccl_wrapper"
    module = ModuleType(name)
    vars(module)["ncclUniqueId"] = Unpacked
    while name:
        monkeypatch.setitem(sys.modules, name, module)
        name = name.rpartition(".")[0]
    identifier = bytes(range(128, 256))
    found = pickle.loads(pickled_identifier(identifier))
    assert isinstance(found, Unpacked)
    assert bytes(found) == identifier


def test_the_library_names_what_is_wrong_with_a_group() -> None:
    try:
        first, second = new_identifier(), new_identifier()
    except TrainError as missing:
        pytest.skip(str(missing))
    assert len(first) == len(second) == IDENTIFIER_BYTES
    assert first != second
    with pytest.raises(TrainError, match=r"ncclCommInitRank: \w+"):
        open_communicator(first, 2, 5)


def test_tensors_are_packed_up_to_the_size_of_the_buffer() -> None:
    module = nn.ModuleDict({"norm": nn.LayerNorm(4), "out": nn.Linear(4, 2, bias=False)})
    source = ModuleSource(module)
    every = b"".join(as_bytes(tensor) for _, tensor in source.tensors())
    cut = [as_bytes(pack) for pack in packs(source, 20)]
    assert [len(pack) for pack in cut] == [32, 32]  # more than 20 bytes: with the second norm's
    assert b"".join(cut) == every
