"""A server as a child process: a log file, a bounded start and stop, and no life of its own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from wideseek_core import ServiceError, TrainError, WorkerError
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.processes import Child, start_child
from wideseek_rl.engines.control.config import LaunchConfig

_POLL_S = 0.25


@asynccontextmanager
async def running_server(
    command: Sequence[str], url: str, log: Path, config: LaunchConfig
) -> AsyncGenerator[Child]:
    """Runs a server inside the block; it is healthy when the block begins.

    It ends with this process, however that ends. Raises `TrainError` with the end of its log for
    one that ends or is not healthy in time.
    """
    try:
        child = await start_child(command, log=log)
    except WorkerError as error:
        raise TrainError(str(error)) from None
    try:
        await until_healthy(child, url, log, config.start_timeout_s)
        yield child
    finally:
        await child.stop(config.stop_timeout_s)


async def until_healthy(
    child: Child,
    url: str,
    log: Path,
    timeout_s: float,
    *,
    path: str = "/health",
) -> None:
    """Waits until a server answers. Raises `TrainError` with the end of its log."""
    endpoint = EndpointConfig(base_url=url, max_attempts=1, timeout_s=5.0, deadline_s=5.0)
    try:
        async with asyncio.timeout(timeout_s), HttpClient(url, endpoint) as client:
            while child.returncode is None:
                try:
                    await client.request("GET", path)
                except ServiceError:
                    await asyncio.sleep(_POLL_S)
                else:
                    return
    except TimeoutError:
        problem = f"was not healthy within {timeout_s:g} s"
    else:
        problem = f"ended with exit code {child.returncode} before it was healthy"
    raise TrainError(f"the server at {url} {problem}; the end of {log}:\n{child.last_words}")
