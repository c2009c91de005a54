"""A server that is started again when it ends, and says where it is each time."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wideseek_core import TrainError, WideSeekError
from wideseek_core.processes import Child
from wideseek_rl.cluster.launcher import Launcher, Slot, SlotRequest
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.control.process import until_healthy

logger = logging.getLogger(__name__)

BACKOFF_S = 1.0
"""Pause before a server is started again."""

CONNECT_TIMEOUT_S = 2.0
"""Time for whatever listens on a port to accept a connection."""


async def _ignored(*_: str) -> None:
    """Nobody wants to know."""


@dataclass(slots=True, kw_only=True)
class KeptServer:
    """What is started, where, and who is notified of it.

    `ready` gets the address whenever the server is healthy; an error that it raises counts as an
    end of the server. `lost` gets the address and the reason whenever it has ended.
    """

    name: str
    launcher: Launcher
    request: SlotRequest
    """For one process."""
    command: Callable[[Slot, int], Sequence[str]]
    """The command line at a place, listening on a port. Raises `ConfigError`."""
    launch: LaunchConfig
    """Interface, port and time limits."""
    max_restarts: int = 0
    ready: Callable[[str], Awaitable[None]] = _ignored
    lost: Callable[[str, str], Awaitable[None]] = _ignored
    health: str = "/health"
    same_address: bool = False
    """Whether those who ask it know its first address only."""
    restarts: int = 0
    url: str = ""
    """Where it is at present; empty while it is not there."""
    _first: str = ""
    _port: int = 0

    async def keep(self, started: "asyncio.Future[str]") -> None:
        """Runs the server for as long as it may be started again.

        `started` gets the first address, or why there is none.
        """
        while True:
            problem = await self._attempt(started)
            if started.done() and started.exception() is not None:
                return
            if self.restarts >= self.max_restarts:
                logger.error("%s %s; it is not started again", self.name, problem)
                return
            self.restarts += 1
            logger.warning(
                "%s %s; it is started again (%d of %d)",
                self.name,
                problem,
                self.restarts,
                self.max_restarts,
            )
            await asyncio.sleep(BACKOFF_S)

    async def _attempt(self, started: "asyncio.Future[str]") -> str:
        """One life of the server; why it ended."""
        try:
            async with self.launcher.slots(self.request) as slots:
                return await self._serve(slots[0], started)
        except (WideSeekError, OSError) as error:
            if not started.done():
                known = isinstance(error, WideSeekError)
                started.set_exception(error if known else TrainError(f"{self.name}: {error}"))
            return f"failed: {error}"
        except Exception as error:
            # Nobody looks at this task before the end: whoever waits for the server has to know.
            logger.exception("%s is given up", self.name)
            if not started.done():
                started.set_exception(error)
            raise

    async def _serve(self, slot: Slot, started: "asyncio.Future[str]") -> str:
        port = self.launch.port or (self._port if self.same_address else 0)
        port = port or await slot.free_port()
        url = f"http://{slot.host}:{port}"
        if self.same_address and self._first not in ("", url):
            raise TrainError(f"{self.name} is asked at {self._first}, there is room at {slot.host}")
        # What the server's last life left behind may take a while to end.
        await _until_free(slot.host, port, self.launch.stop_timeout_s if started.done() else 0.0)
        self._first, self._port = url, port
        child = await slot.start(self.command(slot, port))
        try:
            await until_healthy(child, url, slot.log, self.launch.start_timeout_s, path=self.health)
            self.url = url
            logger.info("%s is ready at %s (%s)", self.name, url, slot.log)
            await self.ready(url)
            if not started.done():
                started.set_result(url)
            problem = f"ended with exit code {await child.wait()}; see {slot.log}"
        except BaseException:
            await self._gone(child, url, "it could not be used")
            raise
        await self._gone(child, url, problem)
        return problem

    async def _gone(self, child: Child, url: str, problem: str) -> None:
        was_there, self.url = self.url, ""
        await child.stop(self.launch.stop_timeout_s)
        if was_there:
            await self.lost(url, f"{self.name} {problem}")


async def _until_free(host: str, port: int, timeout_s: float) -> None:
    """Waits until nothing listens on a port; what does would be taken for the server.

    Raises `TrainError` if something still listens when the time is over.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while await _is_listening(host, port):
        if loop.time() >= end:
            raise TrainError(f"another server listens at http://{host}:{port} already")
        await asyncio.sleep(BACKOFF_S)


async def _is_listening(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


@asynccontextmanager
async def kept(servers: Sequence[KeptServer]) -> AsyncGenerator[list[str]]:
    """Keeps servers running inside the block, which begins when all are healthy.

    Gives their first addresses. Raises `TrainError`, or the `ConfigError` of a command, if one
    does not start.
    """
    loop = asyncio.get_running_loop()
    started: list[asyncio.Future[str]] = [loop.create_future() for _ in servers]
    tasks = [
        asyncio.create_task(server.keep(future))
        for server, future in zip(servers, started, strict=True)
    ]
    try:
        yield list(await asyncio.gather(*started))
    finally:
        for waiting in (*started, *tasks):
            waiting.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        ends: list[object] = list(await asyncio.gather(*tasks, return_exceptions=True))
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, WideSeekError):
                logger.error("a server was not ended in order: %s", end)
