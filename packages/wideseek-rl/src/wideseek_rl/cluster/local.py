"""Processes on this host."""

import os
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wideseek_core import ConfigError
from wideseek_core.config import environment as variable
from wideseek_core.ports import free_port
from wideseek_core.processes import LocalChild, start_child
from wideseek_rl.cluster.launcher import SlotRequest

_GPUS = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> tuple[int, ...]:
    """Numbers of the GPUs that processes of this one may use.

    Those of CUDA_VISIBLE_DEVICES if it is set, else all that the driver lists. Raises `ConfigError`
    for a list of anything but numbers.
    """
    given = variable("CUDA_VISIBLE_DEVICES", "all").strip()
    if given == "all":
        return tuple(range(len(os.listdir(_GPUS)))) if _GPUS.is_dir() else ()
    try:
        return tuple(int(number) for number in given.split(",") if number.strip())
    except ValueError:
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES={given}: a placement needs numbers of GPUs"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSlot:
    """A place on this host; see `Slot`."""

    name: str
    log: Path
    devices: tuple[int, ...] | None = None
    host: str = "127.0.0.1"

    async def free_port(self) -> int:
        """See `Slot`."""
        return free_port()

    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        channel: bool = False,
    ) -> LocalChild:
        """See `Slot`."""
        return await start_child(command, log=self.log, environment=environment, channel=channel)


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Starts processes on this host; a `Launcher`."""

    logs: Path | None = None
    """Folder of the logs; null for a temporary one."""
    devices: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """GPUs of each process by its name; those that are not here choose by themselves."""

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence[LocalSlot]]:
        """See `Launcher`."""
        if self.logs is not None:
            yield self._slots(request, self.logs)
            return
        with tempfile.TemporaryDirectory() as folder:
            yield self._slots(request, Path(folder))

    def _slots(self, request: SlotRequest, logs: Path) -> list[LocalSlot]:
        return [
            LocalSlot(name=name, log=logs / f"{name}.log", devices=self.devices.get(name))
            for name in request.names
        ]
