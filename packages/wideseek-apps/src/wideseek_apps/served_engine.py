"""Rollout engines vLLM and SGLang for training: servers as child processes on this host's GPUs.

Joins the control of servers (wideseek-rl) with the pool that samples on them (wideseek-agents), and
opens both for `wideseek_rl.engines.open`. Weights travel by CUDA IPC, so trainer and servers
share their GPUs.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from wideseek_agents.engines import (
    EnginePool,
    SglangServersConfig,
    VllmServersConfig,
    open_servers,
)
from wideseek_agents.policies.served import vocabulary_size
from wideseek_core import ConfigError, Generated, Sampling
from wideseek_core.plugins import Plugin
from wideseek_rl.engines.control.commands import sglang_command, vllm_command
from wideseek_rl.engines.control.config import ServerPlacement
from wideseek_rl.engines.control.process import free_port, running_server
from wideseek_rl.engines.control.protocol import ServerControl, parsed_version
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.engines.served_config import (
    ServedEngineConfig,
    SglangEngineConfig,
    VllmEngineConfig,
)

if TYPE_CHECKING:
    from wideseek_rl.models.policy import PolicyModel
    from wideseek_rl.sync.protocol import WeightSync
    from wideseek_rl.trainers.protocol import Trainer


class ServedEngine:
    """A pool of servers whose weights a trainer replaces; a `RolloutEngine`."""

    def __init__(
        self, config: ServedEngineConfig, pool: EnginePool, controls: Sequence[ServerControl]
    ) -> None:
        self._config = config
        self._pool = pool
        self._controls = controls

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `EnginePool.generate`."""
        return await self._pool.generate(prompt_ids, session=session, sampling=sampling)

    async def close_session(self, session: str) -> None:
        """Forgets a session."""
        await self._pool.close_session(session)

    def sync(self, trainer: "Trainer") -> "WeightSync":
        """Connects the servers to a trainer. Raises `ConfigError`."""
        import torch

        from wideseek_rl.sync.ipc import IpcTransport, SglangTensorWire, VllmIpcWire
        from wideseek_rl.sync.servers import ServerSync
        from wideseek_rl.sync.source import CastSource

        if self._config.sync.transfer != "ipc":
            raise ConfigError("engine.sync.transfer: servers that share the GPU take ipc")
        source = CastSource(trainer.weights, getattr(torch, self._config.launch.dtype))
        is_vllm = isinstance(self._config, VllmEngineConfig)
        ranks = self._config.launch.tensor_parallel * self._config.launch.pipeline_parallel
        wire = VllmIpcWire() if is_vllm else SglangTensorWire(ranks=ranks)
        transport = IpcTransport(source, wire, self._config.sync.bucket_bytes)
        return ServerSync(self._pool, self._controls, transport, source, self._config.sync)


@asynccontextmanager
async def open_served_engine(
    config: VllmEngineConfig | SglangEngineConfig, model: "PolicyModel"
) -> AsyncGenerator[ServedEngine]:
    """Starts the servers. Raises `ConfigError`, `TrainError` and `PolicyError`."""
    is_vllm = isinstance(config, VllmEngineConfig)
    async with AsyncExitStack() as stack:
        urls: list[str] = []
        for number in range(config.replicas):
            port = config.launch.port + number if config.launch.port else free_port()
            place = ServerPlacement(
                model=model.complete_folder.absolute(),
                log=config.logs / f"{config.kind}-{number}.log",
                port=port,
                seed=number + 1,
            )
            command = _command(config, place)
            url = f"http://{config.launch.host}:{port}"
            await stack.enter_async_context(running_server(command, url, place.log, config.launch))
            urls.append(url)
        running = config.launch.max_running
        if isinstance(config, VllmEngineConfig):
            servers = VllmServersConfig(
                base_urls=tuple(urls), max_running=running, route=config.route
            )
        else:
            servers = SglangServersConfig(base_urls=tuple(urls), max_running=running)
        size = vocabulary_size(model.folder)
        pool = await stack.enter_async_context(open_servers(servers, vocab_size=size))
        control = VllmControl if is_vllm else SglangControl
        yield ServedEngine(config, pool, [control(url, config.control) for url in urls])


def _command(
    config: VllmEngineConfig | SglangEngineConfig, place: ServerPlacement
) -> tuple[str, ...]:
    """The command line. Raises `ConfigError` if the server is not installed."""
    if isinstance(config, SglangEngineConfig):
        return sglang_command(config.launch, place)
    try:
        installed = parsed_version(version("vllm"))
    except PackageNotFoundError:
        if not config.launch.program:
            raise ConfigError(
                "engine.kind=vllm needs vLLM: uv sync --extra vllm, or give engine.launch.program"
            ) from None
        installed = ()
    return vllm_command(config.launch, place, installed)


VLLM = Plugin(config=VllmEngineConfig, open=open_served_engine)
SGLANG = Plugin(config=SglangEngineConfig, open=open_served_engine)
