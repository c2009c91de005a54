"""Weights & Biases."""

import asyncio
import secrets
from pathlib import Path
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.loop.loggers.services import service_package, stored_id


class WandbConfig(Config):
    """Weights & Biases; needs the extra `wandb`."""

    kind: Literal["wandb"] = "wandb"
    project: str = "wideseek"


class WandbLogger:
    """Logs a run under the name of its folder."""

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        self._wandb = service_package("wandb", "wideseek-rl[wandb]")
        self._project, self._folder = config.project, folder
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
            project=self._project,
            id=stored_id(self._folder / "wandb_id.txt", step, lambda: secrets.token_hex(8)),
            name=self._folder.resolve().name,
            dir=str(self._folder),
            resume="allow",
        )
