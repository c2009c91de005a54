"""MLflow."""

import asyncio
import time
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import LoggedRun, StepReport
from wideseek_rl.loop.loggers.services import flat_settings, service_package, stored_id

MAX_PARAM = 6000
"""Characters of a parameter's value."""
MAX_PARAMS = 100
"""Parameters of one request."""


class MLflowConfig(Config):
    """MLflow; needs the package mlflow or mlflow-skinny."""

    kind: Literal["mlflow"] = "mlflow"
    experiment: str = "wideseek"
    name: str | None = None
    """Name of the run; null for that of its folder."""
    tracking_uri: str | None = None
    """Address of the tracking server, or a database; null for MLflow's own default."""


class MLflowLogger:
    """Logs a run, with its configuration as parameters."""

    def __init__(self, config: MLflowConfig, run: LoggedRun) -> None:
        self._mlflow = service_package("mlflow", "mlflow-skinny")
        self._config, self._logged = config, run
        self._client: Any = None
        self._run_id = ""

    async def start(self, step: int) -> None:
        """Opens the run, or continues it."""
        await asyncio.to_thread(self._open, step)

    async def write(self, report: StepReport) -> None:
        """Logs the metrics of a step."""
        await asyncio.to_thread(self._write, report)

    async def close(self) -> None:
        """Ends the run."""
        if self._client is not None:
            await asyncio.to_thread(self._client.set_terminated, self._run_id)

    def _open(self, step: int) -> None:
        client = self._mlflow.MlflowClient(tracking_uri=self._config.tracking_uri)
        self._run_id = stored_id(
            self._logged.folder / "mlflow_id.txt", step, lambda: self._created_run(client)
        )
        client.update_run(self._run_id, status="RUNNING")
        self._client = client

    def _created_run(self, client: Any) -> str:
        name = self._config.experiment
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        run_name = self._config.name or self._logged.name
        run_id = client.create_run(experiment, run_name=run_name).info.run_id
        # Only now: the parameters of a run can't be changed, and a resumed run may change some.
        make = self._mlflow.entities.Param
        values = flat_settings(self._logged.settings)
        params = [make(key, text[:MAX_PARAM]) for key, text in values.items()]
        for start in range(0, len(params), MAX_PARAMS):
            client.log_batch(run_id, params=params[start : start + MAX_PARAMS])
        return run_id

    def _write(self, report: StepReport) -> None:
        metric, now = self._mlflow.entities.Metric, int(time.time() * 1000)
        values = [metric(name, value, now, report.step) for name, value in report.metrics.items()]
        self._client.log_batch(self._run_id, metrics=values)
