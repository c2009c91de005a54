"""Rollout engines vLLM and SGLang for training: servers that a run starts, or that run already.

Joins the control of servers (wideseek-rl) with the pool that samples on them (wideseek-agents), and
opens both for `wideseek_rl.engines.open`. Servers that the run starts are started again when they
end, and sample again once they have the present weights.
"""

import asyncio
import logging
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from wideseek_agents.engines import (
    EnginePool,
    SglangServersConfig,
    VllmServersConfig,
    open_servers,
)
from wideseek_agents.policies.served import vocabulary_size
from wideseek_core import ConfigError, Generated, RanksLost, Sampling, WideSeekError
from wideseek_core.background import in_background
from wideseek_core.plugins import Plugin
from wideseek_rl.cluster.launcher import Slot, SlotRequest
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.control.commands import sglang_command, vllm_command
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.kept import KeptServer, kept
from wideseek_rl.engines.control.protocol import ServerControl, parsed_version
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.trainers.remote.client import RemoteTransport, RemoteWeights
from wideseek_rl.trainers.remote.requests import Route

if TYPE_CHECKING:
    from wideseek_rl.models.policy import PolicyModel
    from wideseek_rl.sync.protocol import WeightSync
    from wideseek_rl.sync.servers import ServerSync
    from wideseek_rl.trainers.protocol import Trainer

logger = logging.getLogger(__name__)

LOCKED_VLLM = (0, 32)
"""The release of the extra `vllm`, for command lines that are shown where it is not installed."""

VERSION_TIMEOUT_S = 60.0
"""Time for another environment to say its release of vLLM, if a start may take that long."""

RETURN_INTERVAL_S = 1.0
"""Pause between two looks for servers that are back with weights of another version."""

ServedConfig = VllmEngineConfig | SglangEngineConfig


class ServedEngine:
    """A pool of servers whose weights a trainer replaces; a `RolloutEngine`."""

    def __init__(self, config: ServedConfig, pool: EnginePool) -> None:
        self._config = config
        self.pool = pool
        self._sync: ServerSync | None = None
        self._admitting: set[str] = set()

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `EnginePool.generate`."""
        return await self.pool.generate(prompt_ids, session=session, sampling=sampling)

    async def close_session(self, session: str) -> None:
        """Forgets a session."""
        await self.pool.close_session(session)

    def sync(self, trainer: "Trainer") -> "WeightSync":
        """Connects the servers to a trainer. Raises `ConfigError`."""
        from wideseek_rl.sync.servers import ServerSync

        weights, settings = trainer.weights, self._config.sync
        controls = [self.control(url) for url in self.pool.states]
        if isinstance(weights, RemoteWeights):
            transport = RemoteTransport(weights.group, self._route())
            self._sync = ServerSync(
                self.pool, controls, transport, weights, settings, comparer=transport
            )
            return self._sync
        import torch

        from wideseek_rl.sync.open import open_transport
        from wideseek_rl.sync.source import CastSource

        source = CastSource(weights, getattr(torch, self._config.launch.dtype))
        transport = open_transport(self._config.kind, source, settings, ranks=self._ranks)
        self._sync = ServerSync(self.pool, controls, transport, source, settings)
        return self._sync

    @property
    def _ranks(self) -> int:
        return self._config.launch.tensor_parallel * self._config.launch.pipeline_parallel

    def _route(self) -> Route:
        return Route(
            kind=self._config.kind,
            sync=self._config.sync,
            control=self._config.control,
            dtype=self._config.launch.dtype,
            ranks=self._ranks,
        )

    def control(self, url: str) -> ServerControl:
        """The control of one of the servers."""
        from wideseek_rl.sync.open import open_control  # loads torch

        return open_control(self._config.kind, url, self._config.control)

    async def take_back(self, url: str) -> None:
        """Brings the present weights to a server that has others. Raises `TrainError`.

        While the trainer is lost the server keeps out of use.
        """
        if self._sync is None:
            self.pool.mark_current(url)
            return
        self._admitting.add(url)
        try:
            await self._sync.admit(self.control(url))
        except RanksLost as error:
            # It is the trainer that is gone, not the server: `tend` asks the next trainer.
            logger.debug("%s waits for a trainer: %s", url, error)
        finally:
            self._admitting.discard(url)

    async def let_go(self, url: str, problem: str) -> None:
        """A server has ended; what it was asked is asked elsewhere."""
        if self._sync is not None:
            self._sync.dismiss(url)
        await self.pool.remove(url, problem)

    async def tend(self) -> None:
        """Takes servers back that are there again with weights of another version.

        One that can't be taken back leaves the pool. Errors that nobody foresaw are raised.
        """
        while True:
            await asyncio.sleep(RETURN_INTERVAL_S)
            outdated = {url for url, state in self.pool.states.items() if state == "outdated"}
            for url in outdated - self._admitting:
                try:
                    await self.take_back(url)
                except WideSeekError as error:
                    logger.error("an engine leaves the pool: %s", error)
                    await self.pool.remove(url, str(error))


class _Members:
    """Tells the pool which servers come and go, once there is a pool."""

    def __init__(self) -> None:
        self.engine: ServedEngine | None = None

    async def ready(self, url: str) -> None:
        """A server is healthy; it has the weights that the run began with."""
        if self.engine is not None:
            await self.engine.pool.add(url, current=False)
            await self.engine.take_back(url)

    async def lost(self, url: str, problem: str) -> None:
        """A server has ended."""
        if self.engine is not None:
            await self.engine.let_go(url, problem)


@asynccontextmanager
async def open_served_engine(
    config: ServedConfig, model: "PolicyModel", hosts: EngineHosts | None = None
) -> AsyncGenerator[ServedEngine]:
    """Starts the servers, or meets those that run already.

    Raises `ConfigError`, `TrainError` and `PolicyError`.
    """
    hosts = hosts or EngineHosts(launcher=LocalLauncher(config.logs), max_restarts=3)
    members = _Members()
    async with AsyncExitStack() as stack:
        urls = list(hosts.base_urls)
        if not urls:
            servers = [
                _server(config, model.complete_folder.absolute(), hosts, members, number)
                for number in range(config.replicas)
            ]
            urls = await stack.enter_async_context(kept(servers))
        started = not hosts.base_urls
        settings = _servers_config(config, urls, started, restarts=hosts.max_restarts > 0)
        size = vocabulary_size(model.folder)
        pool = await stack.enter_async_context(open_servers(settings, vocab_size=size))
        if not started:
            _warn_of_trained(await pool.versions())
        engine = ServedEngine(config, pool)
        members.engine = engine
        await stack.enter_async_context(in_background(engine.tend()))
        try:
            yield engine
        finally:
            members.engine = None


def _warn_of_trained(versions: Mapping[str, int | None]) -> None:
    """Says which servers have weights of a run before this one, until this one sends its own."""
    for url, known in versions.items():
        if known:
            logger.warning(
                "%s has weights of version %d of an earlier run: until a run sends its own, "
                "what is sampled is sampled by those; start the server anew to avoid that",
                url,
                known,
            )


def _servers_config(
    config: ServedConfig, urls: Sequence[str], started: bool, *, restarts: bool
) -> VllmServersConfig | SglangServersConfig:
    """The pool's settings; where servers are started again, requests wait for that."""
    urls, running = tuple(urls), config.launch.max_running
    settings: VllmServersConfig | SglangServersConfig
    if isinstance(config, VllmEngineConfig):
        route = config.chosen_route(started=started)
        settings = VllmServersConfig(base_urls=urls, max_running=running, route=route)
    else:
        settings = SglangServersConfig(base_urls=urls, max_running=running)
    outage = {"outage_timeout_s": config.launch.start_timeout_s + 60.0}
    return settings.model_copy(update=outage) if restarts else settings


def _server(
    config: ServedConfig, model: Path, hosts: EngineHosts, members: _Members, number: int
) -> KeptServer:
    """One replica, in the place that the launcher finds for it."""
    port = server_port(config, number)

    def command(slot: Slot, port: int) -> tuple[str, ...]:
        place = server_placement(config, model, number, port=port, log=slot.log)
        return server_command(config, place.model_copy(update={"devices": slot.devices}), slot.host)

    return KeptServer(
        name=f"engine-{number}",
        launcher=hosts.launcher,
        request=SlotRequest(role="engine", first=number, gpus=hosts.gpus),
        command=command,
        launch=config.launch.model_copy(update={"port": port}),
        max_restarts=hosts.max_restarts,
        ready=members.ready,
        lost=members.lost,
    )


def server_port(config: ServedConfig, number: int) -> int:
    """The port of the replica of a number; 0 for one that is free when it starts."""
    return config.launch.port + number if config.launch.port else 0


def server_placement(
    config: ServedConfig, model: Path, number: int, *, port: int, log: Path
) -> ServerPlacement:
    """What the replica of a number is started with."""
    transfer = config.sync.transfer
    return ServerPlacement(model=model, log=log, port=port, seed=number + 1, transfer=transfer)


def server_command(
    config: ServedConfig, place: ServerPlacement, host: str = "", *, installed: bool = True
) -> tuple[str, ...]:
    """The command line. Raises `ConfigError` if the server has to be `installed` and is not."""
    launch = listening(config.launch, host)
    if isinstance(config, SglangEngineConfig):
        return sglang_command(launch, place)
    release = _release(launch.python, min(VERSION_TIMEOUT_S, launch.start_timeout_s))
    if not release and not launch.program:
        if installed and (launch.python is None or launch.python.exists()):
            raise ConfigError(
                f"engine.kind=vllm needs vLLM{f' in {launch.python}' if launch.python else ''}: "
                "uv sync --extra vllm, or give engine.launch.program"
            )
        release = LOCKED_VLLM  # that of another host's environment, too
    return vllm_command(launch, place, release)


@cache
def _release(python: Path | None, timeout_s: float) -> tuple[int, ...]:
    """The release of vLLM that an interpreter finds; () if none, or if there is no interpreter.

    Raises `ConfigError` if it does not answer.
    """
    if python is None:
        try:
            return parsed_version(version("vllm"))
        except PackageNotFoundError:
            return ()
    code = "from importlib.metadata import version; print(version('vllm'))"
    try:
        found = subprocess.run(
            (python, "-c", code), capture_output=True, text=True, timeout=timeout_s
        )
    except OSError:
        return ()
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{python} does not say its version of vLLM within {timeout_s:g} s"
        ) from None
    return parsed_version(found.stdout.strip()) if found.returncode == 0 else ()


def listening(launch: LaunchConfig, host: str) -> LaunchConfig:
    """The launch of a server on a host, where it listens on that host's own address."""
    local = not host or host.startswith("127.")
    return launch if local else launch.model_copy(update={"host": host})


VLLM = Plugin(config=VllmEngineConfig, open=open_served_engine)
SGLANG = Plugin(config=SglangEngineConfig, open=open_served_engine)
