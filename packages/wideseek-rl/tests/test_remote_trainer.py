"""The torch trainer in processes of its own, over gloo on the CPU."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wideseek_core import (
    CheckpointError,
    ConfigError,
    RanksLost,
    Sampling,
    TrainError,
    WideSeekError,
)
from wideseek_core.frames import PICKLE, Kind, frame
from wideseek_core.processes import TEMPORARY, log_tail
from wideseek_core.testing.fake_vllm import FakeVllm
from wideseek_rl import (
    LossConfig,
    OptimizerConfig,
    TorchTrainerConfig,
    TrainedTurn,
    build_samples,
)
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.launcher import Launcher, SlotRequest
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.loop.restarts import with_restarts
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.source import TensorInfo
from wideseek_rl.testing import known, make_sample, make_turn, tiny_model
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer, measured
from wideseek_rl.trainers.remote.client import (
    Processes,
    RemoteTrainer,
    RemoteTransport,
    with_meeting_place,
)
from wideseek_rl.trainers.remote.meeting import interface_towards
from wideseek_rl.trainers.remote.publishing import Publisher
from wideseek_rl.trainers.remote.requests import (
    Compare,
    Connect,
    Describe,
    Digest,
    Route,
    Send,
)
from wideseek_rl.trainers.remote.torch_ranks import TorchSetup
from wideseek_rl.trainers.torch import TorchTrainer

from .forked_ranks import TORCH, ForkedLauncher

RANKS_DIFFER = ("tokens_run", "micro_batches", "changed", "seconds")
"""Metrics that depend on how many ranks there are."""

CONFIG = TorchTrainerConfig(
    optimizer=OptimizerConfig(lr=1e-2, grad_clip=0.5), max_batch_tokens=90, threads=1
)


def samples(count: int = 7) -> list[TrainingSample]:
    rng = random.Random(0)
    found: list[TrainingSample] = []
    for number in range(count):
        ids = [rng.randrange(3, 16) for _ in range(rng.randrange(12, 30))]
        found.append(make_sample(ids, advantage=rng.uniform(-1, 1), group=number % 3))
    return found


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Generator[ForkedLauncher]:
    with ForkedLauncher(tmp_path_factory.mktemp("logs"), TORCH) as launcher:
        yield launcher


@asynccontextmanager
async def opened(
    launcher: Launcher, folder: Path, count: int = 1, **settings: Any
) -> AsyncGenerator[Trainer]:
    save_model(tiny_model(), folder / "start", None)
    model = PolicyModel(ModelConfig(model=str(folder / "start"), device="cpu", **settings))
    processes = Processes(launcher=launcher, count=count)
    async with open_trainer(CONFIG, LossConfig(), model, processes) as trainer:
        yield trainer


async def tensors_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return await asyncio.to_thread(lambda: dict(trainer.weights.tensors()))


def listening_addresses(groups: Sequence[int]) -> set[str]:
    """Addresses that processes of the given groups listen on, in Linux's hexadecimal."""
    inodes: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(folder.name)) in groups:
                links = [os.readlink(link) for link in (folder / "fd").iterdir()]
                inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux shows sockets in /proc")
async def test_ranks_of_one_host_listen_on_loopback_alone(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path / "logs")
    async with opened(launcher, tmp_path, 2) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        assert (tmp_path / "logs" / "trainer-1.log").exists()
        groups = [child.pid for child in trainer.group.children]
        assert listening_addresses(groups) == {"0100007F"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for interfaces")
def test_the_interface_towards_a_host_is_found() -> None:
    assert interface_towards("127.0.0.1") == "lo"
    assert interface_towards("::1") == ""


async def test_ranks_make_the_updates_of_a_trainer_in_this_process(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    own = TorchTrainer(tiny_model(), CONFIG, LossConfig())
    broken = replace(samples()[0], logprobs=-samples()[0].logprobs)
    mixed = [*samples(), broken]
    async with opened(forks, tmp_path, 2) as trainer:
        for _ in range(2):
            wanted, found = own.update(mixed), await trainer.update(mixed)
            assert (found.masked_samples, found.masked_tokens) == (1, 8)
            assert known(found.tokens_run) >= known(wanted.tokens_run)  # of both ranks
            for name, value in measured(wanted).items():
                if name not in RANKS_DIFFER:
                    close = pytest.approx(value, rel=1e-3, abs=1e-5)
                    assert getattr(found, name) == close, name
            assert measured(found).keys() == measured(wanted).keys()
        (tmp_path / "saved").mkdir()
        await trainer.save(tmp_path / "saved")
        changed = await tensors_of(trainer)
        assert [info.name for info in trainer.weights.metadata()] == list(changed)
        await trainer.update(samples())
        await trainer.load(tmp_path / "saved")
        again = await tensors_of(trainer)
        logprobs = await trainer.logprobs(samples())
    for name, tensor in own.weights.tensors():
        torch.testing.assert_close(changed[name], tensor, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(again[name], changed[name])
    for wanted, found in zip(own.logprobs(samples()), logprobs, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


async def test_a_killed_rank_is_one_clear_error_and_leaves_no_process(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    with (forks.logs / "trainer-1.log").open("a") as log:
        log.write("words of an earlier rank\n")
    async with opened(forks, tmp_path, 2) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        children = trainer.group.children
        os.kill(children[1].pid, signal.SIGKILL)
        await children[1].wait()
        for _ in range(2):
            lost = r"trainer-1 with exit code -9: (?!.*earlier)|broken off"
            with pytest.raises(RanksLost, match=lost):
                await trainer.update(samples())
    assert all(child.returncode is not None for child in children)


async def test_a_rank_that_is_not_the_first_says_in_its_log_what_it_refuses(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    setup = TorchSetup(
        model=tmp_path, dtype="float32", device="cuda", config=CONFIG, loss=LossConfig()
    )
    async with forks.slots(SlotRequest(role="other")) as (slot,):
        environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "99"}
        command = (sys.executable, "-m", TORCH, setup.model_dump_json())
        child = await slot.start(command, environment=environment)
        assert await child.wait() == 2
        assert log_tail(slot.log, 1).startswith("ConfigError: rank 99 finds")


async def test_a_rank_that_lost_its_peer_says_that_another_attempt_may_help(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    async with opened(forks, tmp_path, 2) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        first, second = trainer.group.children
        second.kill()
        assert await second.wait() == -signal.SIGKILL
        assert first.stdin is not None
        first.stdin.write(frame(Kind.ASK, 0, PICKLE.dumps(Describe())))
        assert await first.wait() == TEMPORARY


async def test_a_rank_whose_update_failed_still_saves_its_weights(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    nothing: Any = None
    async with opened(forks, tmp_path) as trainer:
        await trainer.update(samples())
        before = await tensors_of(trainer)
        with pytest.raises(RanksLost, match=r"^an update failed: AttributeError: .*NoneType"):
            await trainer.update([*samples(), nothing])
        assert trainer.intact
        await trainer.save(tmp_path)
        assert (await trainer.update(samples())).updates == 1
    saved = TorchTrainer(tiny_model(), CONFIG, LossConfig())
    saved.load(tmp_path)
    for name, tensor in saved.weights.tensors():
        torch.testing.assert_close(before[name], tensor)


async def test_ranks_that_refuse_an_update_alike_still_save_their_weights(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    (sample,) = build_samples([TrainedTurn(turn=make_turn(logprob=-2.83), weight=1, advantage=1)])
    huge = np.full(len(sample), 3e38, dtype=np.float32)
    broken = replace(sample, weights=np.where(sample.weights > 0, huge, 0), advantages=huge)
    async with opened(forks, tmp_path, 2) as trainer:
        await trainer.update(samples())
        before = await tensors_of(trainer)
        for _ in range(2):
            assert (await trainer.update([broken])).skipped == 1
        with pytest.raises(TrainError, match="not finite 3 times") as failed:
            await trainer.update([broken])
        assert not isinstance(failed.value, RanksLost)
        assert trainer.intact
        await trainer.save(tmp_path)
    saved = TorchTrainer(tiny_model(), CONFIG, LossConfig())
    saved.load(tmp_path)
    for name, tensor in saved.weights.tensors():
        torch.testing.assert_close(before[name], tensor)


async def test_one_of_several_ranks_that_fails_takes_their_weights_along(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    nothing: Any = None
    async with opened(forks, tmp_path, 2) as trainer:
        with pytest.raises(RanksLost, match=r"a rank of the trainer ended: .*NoneType"):
            await trainer.update([*samples(), nothing])
        assert not trainer.intact


async def test_a_rank_that_was_killed_has_no_weights(tmp_path: Path, forks: ForkedLauncher) -> None:
    async with opened(forks, tmp_path) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        assert trainer.intact
        (child,) = trainer.group.children
        child.kill()
        await child.wait()
        assert not trainer.intact


async def test_an_interface_that_is_not_there_ends_a_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nothing0")
    attempts: list[bool] = []

    async def attempt(repeated: bool) -> None:
        attempts.append(repeated)
        async with opened(LocalLauncher(tmp_path / "logs"), tmp_path, 2):
            raise AssertionError("the ranks can't have met")

    with pytest.raises(WideSeekError, match="GLOO_SOCKET_IFNAME=nothing0") as ended:
        await with_restarts(attempt, 3)
    assert attempts == [False]
    assert "\n" not in str(ended.value)


async def load_nothing(forks: ForkedLauncher, folder: Path) -> None:
    async with opened(forks, folder) as trainer:
        await trainer.load(folder / "nothing")


async def test_what_the_ranks_refuse_keeps_its_kind(tmp_path: Path, forks: ForkedLauncher) -> None:
    with pytest.raises(CheckpointError, match=r"no such file: .*model\.safetensors"):
        await load_nothing(forks, tmp_path)


async def test_ranks_that_can_not_write_are_not_lost_ranks(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    """The next trainer could not write there either."""
    (tmp_path / "file").write_text("")
    async with opened(forks, tmp_path) as trainer:
        with pytest.raises(TrainError, match=r"file") as failed:
            await trainer.save(tmp_path / "file")
    assert not isinstance(failed.value, RanksLost)


async def test_half_weights_can_not_be_shared_by_several_ranks(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    with pytest.raises(ConfigError, match=r"policy\.dtype=bfloat16: several ranks"):
        async with opened(forks, tmp_path, 2, dtype="bfloat16"):
            pass


async def test_an_engine_of_this_process_samples_with_the_weights_of_the_ranks(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    engine = TorchEngine(tiny_model(), BuiltinEngineConfig())
    async with opened(forks, tmp_path) as trainer, engine.sync(trainer).updating() as commit:
        await trainer.update(samples())
        commit(1)
    made = await engine.generate([3, 4], session="a", sampling=Sampling(max_tokens=2, seed=1))
    assert made.versions[-1].version == 1


def test_servers_on_other_hosts_meet_the_first_rank_at_its_own_address() -> None:
    default, chosen = SyncConfig(transfer="nccl"), SyncConfig(master_address="10.0.0.9")
    assert with_meeting_place(default, "127.0.0.1") == default
    assert with_meeting_place(default, "10.0.0.5").master_address == "10.0.0.5"
    assert with_meeting_place(chosen, "10.0.0.5") == chosen


class CountedSource:
    """Weights that ranks would gather together; counts how often they did to the end."""

    readings = 0

    def metadata(self) -> list[TensorInfo]:
        return [TensorInfo(name="w", dtype="float32", shape=(2,))]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield "w", torch.ones(2)
        self.readings += 1


async def test_a_rank_whose_update_fails_early_gathers_as_often_as_the_others() -> None:
    sync = SyncConfig(transfer="nccl")
    route = Route(kind="sglang", sync=sync, control=ControlConfig(), dtype="float32")
    url = "http://127.0.0.1:9"

    def asked(*, first: bool) -> list[int]:
        source = CountedSource()
        publisher = Publisher(source, first=first)
        assert bool(publisher.connect(Connect((url,), route)).failures) == first
        readings: list[int] = []
        for version in (1, 2):
            publisher.send(Send((url,), version))
            readings.append(source.readings)
            publisher.compare(Compare({}))
            readings.append(source.readings)
            publisher.digest(Digest("wideseek"))
            publisher.compare(Compare({}))  # of what was gathered for the checksums
            readings.append(source.readings)
        publisher.close()
        return readings

    of_first, of_others = [await asyncio.to_thread(asked, first=first) for first in (True, False)]
    assert of_first == of_others == [1, 2, 3, 4, 5, 6]


async def test_ranks_send_their_weights_to_servers_and_compare_checksums(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    servers = [FakeVllm(), FakeVllm()]
    async with servers[0].serving(), servers[1].serving(), opened(forks, tmp_path, 2) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        route = Route(kind="vllm", sync=SyncConfig(), control=ControlConfig(), dtype="bfloat16")
        transport = RemoteTransport(trainer.group, route)
        controls = [VllmControl(server.url) for server in servers]
        assert await transport.connect(controls) == {}
        for version in (1, 2):
            await trainer.update(samples())
            assert await transport.send(controls, version) == {}
            reported = {control.client.url: await control.checksums() for control in controls}
            if version == 2:
                await transport.prepare(next(iter(reported.values())).algorithm)
            assert await transport.compare(reported) == {}
        assert {server.engine.label for server in servers} == {"2"}
        assert servers[0].engine.weights == servers[1].engine.weights
        servers[1].corrupt = True
        assert await transport.send(controls, 3) == {}
        await transport.prepare("sha256")
        reported = {control.client.url: await control.checksums() for control in controls}
        (problem,) = (await transport.compare(reported)).values()
        assert "not as they were sent: " in str(problem)


async def test_ranks_outlive_servers_that_can_not_meet_them(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    """So what they have learnt can be saved, and nobody starts them again in vain."""
    servers = [FakeVllm(), FakeVllm()]
    sync = SyncConfig(transfer="nccl", master_address="192.0.2.1")
    async with servers[0].serving(), servers[1].serving(), opened(forks, tmp_path, 2) as trainer:
        assert isinstance(trainer, RemoteTrainer)
        route = Route(kind="vllm", sync=sync, control=ControlConfig(), dtype="bfloat16")
        transport = RemoteTransport(trainer.group, route)
        failures = await transport.connect([VllmControl(server.url) for server in servers])
        (problem,) = {str(failure) for failure in failures.values()}
        assert problem.startswith("sync.master_address=192.0.2.1 sync.master_port=0: the trainer")
        assert failures.keys() == {server.url for server in servers}
        await trainer.update(samples())
        (tmp_path / "saved").mkdir()
        await trainer.save(tmp_path / "saved")
