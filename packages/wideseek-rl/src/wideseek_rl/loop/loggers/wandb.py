"""Weights & Biases."""

import asyncio
import secrets
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import LoggedRun, StepReport
from wideseek_rl.loop.loggers.services import service_package, stored_id


class WandbConfig(Config):
    """Weights & Biases; needs the extra `wandb`."""

    kind: Literal["wandb"] = "wandb"
    project: str = "wideseek"
    entity: str | None = None
    """The user or team; null for the default one."""
    name: str | None = None
    """Name of the run; null for that of its folder."""
    mode: Literal["online", "offline"] | None = None
    """`offline` writes files that `wandb sync` uploads; null for what WANDB_MODE says."""


class WandbLogger:
    """Logs a run with its configuration."""

    def __init__(self, config: WandbConfig, run: LoggedRun) -> None:
        self._wandb = service_package("wandb", "wideseek-rl[wandb]")
        self._config, self._logged = config, run
        self._run: Any = None

    async def start(self, step: int) -> None:
        """Opens the run, or continues it."""
        await asyncio.to_thread(self._open, step)

    async def write(self, report: StepReport) -> None:
        """Logs the metrics of a step."""
        await asyncio.to_thread(self._run.log, dict(report.metrics), step=report.step)

    async def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            await asyncio.to_thread(self._run.finish)

    def _open(self, step: int) -> None:
        self._run = self._wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            id=stored_id(self._logged.folder / "wandb_id.txt", step, lambda: secrets.token_hex(8)),
            name=self._config.name or self._logged.name,
            config=dict(self._logged.settings),
            dir=str(self._logged.folder),
            mode=self._config.mode,
            resume="allow",
        )
