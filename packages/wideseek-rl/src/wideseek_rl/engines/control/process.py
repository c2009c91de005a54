"""A server as a child process: its own process group, a log file, a bounded start and stop."""

import asyncio
import contextlib
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from wideseek_core import ServiceError, TrainError
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_rl.engines.control.config import LaunchConfig

_POLL_S = 0.25
_SHOWN_LINES = 8


@asynccontextmanager
async def running_server(
    command: Sequence[str], url: str, log: Path, config: LaunchConfig
) -> AsyncGenerator[Process]:
    """Runs a server inside the block; it is healthy when the block begins.

    Raises `TrainError` with the end of its log for one that ends or is not healthy in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise TrainError(f"{command[0]} did not start: {error}") from None
    try:
        await _healthy(process, url, log, config.start_timeout_s)
        yield process
    finally:
        await stop(process, config.stop_timeout_s)


async def stop(process: Process, timeout_s: float) -> None:
    """Ends a server and its workers: asks them to, then kills what is left of their group."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), timeout_s)
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    """The group's number is the child's, which leads a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def free_port() -> int:
    """A port that nothing listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _healthy(process: Process, url: str, log: Path, timeout_s: float) -> None:
    endpoint = EndpointConfig(base_url=url, max_attempts=1, timeout_s=5.0, deadline_s=5.0)
    try:
        async with asyncio.timeout(timeout_s), HttpClient(url, endpoint) as client:
            while process.returncode is None:
                try:
                    await client.request("GET", "/health")
                except ServiceError:
                    await asyncio.sleep(_POLL_S)
                else:
                    return
    except TimeoutError:
        problem = f"was not healthy within {timeout_s:g} s"
    else:
        problem = f"ended with exit code {process.returncode} before it was healthy"
    raise TrainError(f"the server at {url} {problem}; the end of {log}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_SHOWN_LINES:]) or "(nothing)"
