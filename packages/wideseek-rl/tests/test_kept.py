"""Servers that are kept running: what ends the wait for them."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wideseek_core import TrainError
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_rl.cluster.launcher import Slot, SlotRequest
from wideseek_rl.cluster.local import LocalLauncher
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


async def test_a_server_that_listens_there_already_is_not_taken_for_ones_own(
    tmp_path: Path,
) -> None:
    async def healthy(request: Request) -> Response:
        return Response.of({})

    ready: list[str] = []

    async def note(url: str) -> None:
        ready.append(url)

    async with HttpServer(healthy) as other:
        server = KeptServer(
            name="engine-0",
            launcher=LocalLauncher(tmp_path),
            request=SlotRequest(role="engine"),
            command=lambda slot, port: (sys.executable, "-c", "import time; time.sleep(60)"),
            launch=LaunchConfig(port=other.port),
            ready=note,
        )
        with pytest.raises(TrainError, match=f"listens at http://127.0.0.1:{other.port} already"):
            async with kept([server]):
                pass
    assert not ready
    assert not other.requests
