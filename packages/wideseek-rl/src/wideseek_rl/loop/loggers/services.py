"""What loggers of experiment services share: their package, and the id of a run that is resumed."""

import importlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from wideseek_core import ConfigError
from wideseek_core.files import write_atomically
from wideseek_core.runs import flat
from wideseek_core.text import one_line
from wideseek_rl.loop.loggers.protocol import MetricLogger, StepReport

logger = logging.getLogger(__name__)


class OfService:
    """The logger of a service, as a `MetricLogger` that never ends a run.

    A service that fails while the run is on costs its curves some points: `metrics.jsonl` has them.
    """

    def __init__(self, kind: str, inner: MetricLogger) -> None:
        self._kind, self._inner = kind, inner

    async def start(self, step: int) -> None:
        """Opens the run; what keeps it from opening is raised, since nothing is lost yet."""
        await self._inner.start(step)

    async def write(self, report: StepReport) -> None:
        """Logs the metrics of a step, or says why it could not."""
        await self._tried(f"the metrics of step {report.step}", self._inner.write(report))

    async def close(self) -> None:
        """Ends the run."""
        await self._tried("the end of the run", self._inner.close())

    async def _tried(self, what: str, action: Awaitable[None]) -> None:
        try:
            await action
        except Exception as error:  # noqa: BLE001 - the errors of a service are its own
            reason = one_line(f"{type(error).__name__}: {error}")
            logger.warning("%s did not take %s: %s", self._kind, what, reason)


def service_package(name: str, install: str) -> Any:
    """The module of a service. Raises `ConfigError`, which says what to install, without it."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module = None
    # Services keep files in folders of their names; one in the working folder can be imported.
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if module is None or (spec is not None and spec.origin is None):
        raise ConfigError(f"rl.loggers: the kind {name!r} needs a package: pip install {install!r}")
    return module


def stored_id(file: Path, step: int, make: Callable[[], str]) -> str:
    """The id that a resumed run was logged under; a new one for a run that starts.

    Run folders of one name are many, so the name can't be the id.
    """
    if step and file.is_file():
        return file.read_text("utf-8").strip()
    made = make()
    write_atomically(file, made)
    return made


def flat_settings(settings: Mapping[str, JsonValue]) -> dict[str, str]:
    """Settings by their dotted keys, as text: what `key=value` would set."""
    return {
        key: json.loads(text) if text.startswith('"') else text
        for key, text in flat(settings).items()
    }
