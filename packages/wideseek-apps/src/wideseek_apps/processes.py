"""The processes that a training run starts, where its placement says so."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from wideseek_apps.placement import resolved
from wideseek_apps.services import open_services, with_addresses
from wideseek_apps.training_config import TrainConfig
from wideseek_rl.cluster.open import open_launcher
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.trainers.remote.client import Processes

LOGS = "logs"
"""Folder of a run with one log for each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcesses:
    """A configuration whose services run, and where trainer and engines are to be."""

    config: TrainConfig
    trainer: Processes | None = None
    """None trains in this process."""
    engines: EngineHosts | None = None
    max_restarts: int = 0
    """Of the trainer's ranks."""


@asynccontextmanager
async def open_processes(config: TrainConfig) -> AsyncGenerator[RunProcesses]:
    """Starts judge and retrieval server; engines and trainer are started by those who use them.

    Raises `ConfigError` for a placement that these hosts can't hold, `TrainError` for a server that
    does not start.
    """
    placement = config.placement
    if placement is None:
        yield RunProcesses(config=config)
        return
    config = resolved(config)
    async with AsyncExitStack() as stack:
        opened = open_launcher(placement, config.folder / LOGS)
        launcher = await stack.enter_async_context(opened)
        urls = await stack.enter_async_context(open_services(placement, launcher))
        trainer, engines = placement.trainer, placement.engines
        processes = Processes(
            launcher=launcher,
            count=trainer.ranks,
            gpus=min(trainer.gpus, 1),
            python=str(trainer.python or ""),
        )
        yield RunProcesses(
            config=with_addresses(config, urls),
            trainer=processes if trainer.ranks else None,
            engines=EngineHosts(
                launcher=launcher,
                gpus=engines.gpus,
                base_urls=engines.base_urls,
                max_restarts=placement.max_restarts,
            ),
            max_restarts=placement.max_restarts,
        )
