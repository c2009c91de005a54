"""Servers that are kept running: what ends the wait for them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from wideseek_core import TrainError
from wideseek_rl.cluster.launcher import Slot, SlotRequest
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.control.kept import KeptServer, kept


class BrokenLauncher:
    def __init__(self, error: Exception) -> None:
        self._error = error

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence[Slot]]:
        raise self._error
        yield ()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("no space left"), TrainError),
        (TrainError("no space left"), TrainError),
        (ValueError("no space left"), ValueError),
    ],
)
async def test_whatever_keeps_a_server_from_starting_ends_the_wait(
    error: Exception, kind: type[Exception]
) -> None:
    server = KeptServer(
        name="engine-0",
        launcher=BrokenLauncher(error),
        request=SlotRequest(role="engine"),
        command=lambda slot, port: (slot.host, str(port)),
        launch=LaunchConfig(),
        max_restarts=2,
    )
    with pytest.raises(kind, match="no space left"):
        async with kept([server]):
            pass
