"""SwanLab."""

import asyncio
import secrets
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import LoggedRun, StepReport
from wideseek_rl.loop.loggers.services import service_package, stored_id

ID_DIGITS = 21
"""Characters of a run's id, as SwanLab demands."""


class SwanLabConfig(Config):
    """SwanLab; needs the package swanlab."""

    kind: Literal["swanlab"] = "swanlab"
    project: str = "wideseek"
    name: str | None = None
    """Name of the run; null for that of its folder."""
    mode: Literal["cloud", "local", "offline"] = "cloud"
    """Where the run is shown: their service, an own board, or only files to upload later."""


class SwanLabLogger:
    """Logs a run with its configuration."""

    def __init__(self, config: SwanLabConfig, run: LoggedRun) -> None:
        self._swanlab = service_package("swanlab", "swanlab")
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
            await asyncio.to_thread(self._swanlab.finish)

    def _open(self, step: int) -> None:
        file = self._logged.folder / "swanlab_id.txt"
        self._run = self._swanlab.init(
            project=self._config.project,
            experiment_name=self._config.name or self._logged.name,
            config=dict(self._logged.settings),
            logdir=str(self._logged.folder / "swanlab"),
            mode=self._config.mode,
            id=stored_id(file, step, lambda: secrets.token_hex(ID_DIGITS)[:ID_DIGITS]),
            resume="allow",
        )
