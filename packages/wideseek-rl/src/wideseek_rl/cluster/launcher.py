"""The interfaces between what wants processes and what starts them, on one host or on many."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wideseek_core.processes import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRequest:
    """Places for the processes of one role.

    Example: `SlotRequest(role="trainer", count=4, gpus=1)`
    """

    role: str
    """`trainer`, `engine`, `judge` or `retrieval`: names the logs."""
    first: int = 0
    """Number of the first process of this request among those of its role."""
    count: int = 1
    """Processes."""
    gpus: int = 0
    """GPUs of each."""

    @property
    def names(self) -> list[str]:
        """Role and number of each process."""
        return [f"{self.role}-{number}" for number in range(self.first, self.first + self.count)]


class Slot(Protocol):
    """A place for one process: a host, and GPUs there."""

    @property
    def name(self) -> str:
        """Role and number, as in the names of logs: `engine-0`."""
        ...

    @property
    def host(self) -> str:
        """Address under which other processes reach what runs here."""
        ...

    @property
    def devices(self) -> tuple[int, ...] | None:
        """GPUs by their numbers on the host; None leaves the choice to the process."""
        ...

    @property
    def log(self) -> Path:
        """File that gets everything the process writes."""
        ...

    async def free_port(self) -> int:
        """A port of the host that nothing listens on at present."""
        ...

    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        channel: bool = False,
    ) -> Child:
        """Starts a process here; the caller stops it.

        Raises `WorkerError` for a command that can't be started, `WorkerLost` for a lost place.
        """
        ...


class Launcher(Protocol):
    """Finds places for processes."""

    def slots(self, request: SlotRequest) -> AbstractAsyncContextManager[Sequence[Slot]]:
        """Places that are kept for the caller inside the block, all of them or none.

        Raises `ConfigError` that says what is missing if the hosts can't hold them, and
        `WorkerLost` if a place is lost at once.
        """
        ...
