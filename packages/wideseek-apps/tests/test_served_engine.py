"""vLLM and SGLang as rollout engines of a training run, with fakes as the servers' programs."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest
import torch

from wideseek_apps.served_engine import ServedEngine, server_command, server_placement
from wideseek_apps.training_config import TrainConfig
from wideseek_core import (
    ConfigError,
    PolicyError,
    RanksLost,
    Sampling,
    attached,
    one_version,
)
from wideseek_core.config import load_config
from wideseek_core.testing import FakeVllm, until
from wideseek_rl import ModelConfig, PolicyModel, open_engine
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.sync.fanout import Failures
from wideseek_rl.sync.protocol import Transport
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.sync.source import ModuleSource, WeightSource
from wideseek_rl.trainers.protocol import Trainer


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_replicas_are_started_and_sampled(kind: str, tmp_path: Path) -> None:
    program = (sys.executable, "-m", f"wideseek_core.testing.fake_{kind}")
    launch = LaunchConfig(program=program, max_running=4)
    config_class = VllmEngineConfig if kind == "vllm" else SglangEngineConfig
    config = config_class(replicas=2, launch=launch, logs=tmp_path)
    async with open_engine(config, PolicyModel(ModelConfig())) as engine:
        made = await engine.generate([5, 6], session="a", sampling=Sampling(max_tokens=3, seed=1))
        await engine.close_session("a")
    assert len(made.ids) == 3
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_a_training_run_names_its_engine() -> None:
    config = load_config(TrainConfig, ["policy.engine.kind=sglang", "policy.engine.replicas=2"])
    assert isinstance(config.policy.engine, SglangEngineConfig)
    builtin = load_config(TrainConfig, ["policy.engine.processes=0"])
    assert builtin.policy.engine.kind == "builtin"


async def test_a_missing_vllm_is_named() -> None:
    with pytest.raises(ConfigError, match="needs vLLM: uv sync --extra vllm"):
        async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig())):
            pass


class Steady:
    """A trainer whose weights are those of a small module, elsewhere."""

    def __init__(self, source: WeightSource) -> None:
        self.weights = source


def steady() -> Trainer:
    module = torch.nn.Linear(2, 2, bias=False)
    return cast(Trainer, Steady(ModuleSource(module)))


def process_at(url: str) -> int:
    """The process whose command line names the port of an address."""
    port = url.rsplit(":", 1)[1].encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            watches = str(attached.PATH).encode() in words
            if b"wideseek_core.testing.fake_vllm" in words and port in words and not watches:
                return int(folder.name)
    raise AssertionError(f"nothing listens at {url}")


class LostTransport:
    """How weights travel from ranks that have ended."""

    separate = True

    async def connect(self, servers: Sequence[ServerControl]) -> Failures:
        raise RanksLost("a rank of the trainer ended")


async def test_a_server_that_comes_back_while_the_trainer_is_lost_waits_for_the_next() -> None:
    server = FakeVllm()
    async with server.serving():
        hosts = EngineHosts(launcher=LocalLauncher(), base_urls=(server.url,))
        model = PolicyModel(ModelConfig())
        async with open_engine(VllmEngineConfig(), model, hosts) as engine:
            assert isinstance(engine, ServedEngine)
            sync = engine.sync(steady())
            assert isinstance(sync, ServerSync)
            async with sync.updating() as commit:
                commit(1)
            (url,) = engine.pool.states
            await engine.pool.add(url, current=False)
            sync.transport = cast(Transport, LostTransport())
            await engine.take_back(url)
            assert list(engine.pool.states) == [url]
            async with engine.sync(steady()).updating() as commit:
                commit(2)
            request = engine.generate([5, 6], session="a", sampling=Sampling(max_tokens=2, seed=1))
            assert (await request).versions == one_version(2, 2)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_killed_server_is_started_again_with_the_present_weights(
    replicas: int, tmp_path: Path
) -> None:
    program = (sys.executable, "-m", "wideseek_core.testing.fake_vllm")
    config = VllmEngineConfig(
        replicas=replicas, launch=LaunchConfig(program=program), logs=tmp_path
    )
    async with open_engine(config, PolicyModel(ModelConfig())) as engine:
        assert isinstance(engine, ServedEngine)
        sync, latest = engine.sync(steady()), 8 if replicas == 1 else 7
        async with sync.updating() as commit:
            commit(7)
        before = list(engine.pool.states)
        request = engine.generate([5, 6], session="a", sampling=Sampling(max_tokens=2, seed=1))
        assert (await request).versions == one_version(7, 2)
        os.kill(process_at(before[0]), signal.SIGKILL)
        if replicas == 1:  # an update while no server is there
            await until(lambda: not engine.pool.states)
            async with sync.updating() as commit:
                commit(8)
        await until(lambda: list(engine.pool.states) != before)
        again = engine.generate([5, 6], session="a", sampling=Sampling(max_tokens=2, seed=1))
        assert (await again).versions == one_version(latest, 2)
        await until(lambda: list(engine.pool.states.values()) == ["ready"] * replicas)
        async with sync.updating() as commit:
            commit(9)
        made = await engine.generate([5, 6], session="b", sampling=Sampling(max_tokens=2, seed=1))
        assert made.versions == one_version(9, 2)


async def test_servers_that_run_already_are_used_and_left_alone(tmp_path: Path) -> None:
    server = FakeVllm()
    async with server.serving():
        hosts = EngineHosts(launcher=LocalLauncher(tmp_path), base_urls=(server.url,))
        async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig()), hosts) as engine:
            async with engine.sync(steady()).updating() as commit:
                commit(3)
            made = await engine.generate(
                [5, 6], session="a", sampling=Sampling(max_tokens=2, seed=1)
            )
        assert made.versions == one_version(3, 2)
        assert not server.engine.paused
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", [0, 7])
async def test_servers_with_weights_of_an_earlier_run_are_named(
    version: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = FakeVllm(version=(0, 32))
    server.engine.label = str(version)
    async with server.serving():
        hosts = EngineHosts(launcher=LocalLauncher(), base_urls=(server.url,))
        async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig()), hosts):
            pass
    assert ("has weights of version 7 of an earlier run" in caplog.text) == (version == 7)


class BrokenTransport:
    """How weights travel where sending them meets an error."""

    separate = True

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def connect(self, servers: Sequence[ServerControl]) -> Failures:
        raise self._error


async def come_back(engine: ServedEngine, error: Exception) -> None:
    """Lets the only server be there again with old weights, and sending it others fail."""
    sync = engine.sync(steady())
    assert isinstance(sync, ServerSync)
    async with sync.updating() as commit:
        commit(1)
    sync.transport = cast(Transport, BrokenTransport(error))
    await engine.pool.add(next(iter(engine.pool.states)), current=False)


async def wait_with(hosts: EngineHosts, error: Exception) -> None:
    """A run that waits for ever while a server can't be taken back."""
    async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig()), hosts) as engine:
        assert isinstance(engine, ServedEngine)
        await come_back(engine, error)
        await asyncio.Event().wait()


async def test_an_error_in_taking_servers_back_that_nobody_foresaw_ends_the_run() -> None:
    server = FakeVllm()
    async with server.serving():
        hosts = EngineHosts(launcher=LocalLauncher(), base_urls=(server.url,))
        with pytest.raises(KeyError, match="a bug"):
            await wait_with(hosts, KeyError("a bug"))


async def test_a_server_that_can_not_be_taken_back_leaves_the_pool() -> None:
    server = FakeVllm()
    async with server.serving():
        hosts = EngineHosts(launcher=LocalLauncher(), base_urls=(server.url,))
        async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig()), hosts) as engine:
            assert isinstance(engine, ServedEngine)
            await come_back(engine, PolicyError("no such server"))
            await until(lambda: not engine.pool.states)


def test_an_interpreter_without_vllm_is_one_clear_error(tmp_path: Path) -> None:
    python = Path(sys.executable)
    if find_spec("vllm"):
        pytest.skip("this one has vLLM")
    config = VllmEngineConfig(launch=LaunchConfig(python=python))
    place = server_placement(config, tmp_path, 0, port=1, log=tmp_path / "log")
    with pytest.raises(ConfigError, match=re.escape(f"needs vLLM in {python}: uv sync")):
        server_command(config, place)
    elsewhere = LaunchConfig(python=tmp_path / "of" / "another" / "host")
    command = server_command(config.model_copy(update={"launch": elsewhere}), place)
    assert str(elsewhere.python) in command


def test_an_interpreter_that_never_answers_is_one_clear_error(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 1000\n")
    python.chmod(0o755)
    config = VllmEngineConfig(launch=LaunchConfig(python=python, start_timeout_s=0.05))
    place = server_placement(config, tmp_path, 0, port=1, log=tmp_path / "log")
    with pytest.raises(ConfigError, match=r"does not say its version of vLLM within 0\.05 s"):
        server_command(config, place)
