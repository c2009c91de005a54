"""A process on a node, as its starter sees it."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

from ray.exceptions import RayError

from wideseek_core.processes import Output
from wideseek_rl.cluster.ray.actor import Status

logger = logging.getLogger(__name__)

LOST = -9
"""Exit code of a process whose actor or node is gone."""


class RayChild:
    """A process behind an actor; see `wideseek_core.processes.Child`."""

    def __init__(self, actor: Any, pid: int, host: str, log: Path) -> None:
        self._actor = actor
        self._log, self._output = log, Output.from_now_on(log)
        self.pid, self.host = pid, host
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self._ended = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch())

    def kill(self) -> None:
        """See `Child`."""
        self._actor.stop.remote(0.0)

    @property
    def last_words(self) -> str:
        """See `Child`."""
        return self._output.tail()

    async def wait(self) -> int:
        """See `Child`."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def stop(self, timeout_s: float) -> None:
        """See `Child`."""
        if not self._ended.is_set():
            with contextlib.suppress(RayError):
                await self._actor.stop.remote(timeout_s)
            await self._ended.wait()
        await self._watcher
        if self.stdin is not None:
            self.stdin.close()

    async def _watch(self) -> None:
        """Copies the log and waits for the end; an actor that is gone is an end too."""
        offset = 0
        while True:
            try:
                status: Status = await self._actor.status.remote(offset)
            except RayError as error:
                logger.warning("%s: %s", self._log.stem, str(error).splitlines()[0])
                self._end(LOST)
                return
            except Exception:  # whatever Ray raises: those who wait would wait for ever
                logger.exception("%s can't be watched any more", self._log.stem)
                self._end(LOST)
                return
            offset += len(status.log)
            try:
                await asyncio.to_thread(_append, self._log, status.log)
            except OSError as error:  # a full disk must not hide the end of the process
                logger.warning("%s is incomplete: %s", self._log, error)
            if status.returncode is not None and not status.log:
                self._end(status.returncode)
                return

    def _end(self, returncode: int) -> None:
        self.returncode = returncode
        self._ended.set()
        if self.stdout is not None and not self.stdout.at_eof():
            self.stdout.feed_eof()


def _append(log: Path, content: bytes) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(content)
