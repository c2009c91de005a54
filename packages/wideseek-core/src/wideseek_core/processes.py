"""Child processes that end with this one, however it ends.

Each leads a process group of its own, writes to a log file, and may have a channel: its standard
input and output, over which frames go (see `wideseek_core.frames`).
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from wideseek_core import attached
from wideseek_core.config import child_environment
from wideseek_core.errors import WorkerError

REFUSED = 2
"""Exit code of a process that says in its last line why it can't go on."""
TEMPORARY = 75
"""Exit code of a process that another attempt may help, as sysexits.h has it (EX_TEMPFAIL)."""

SHOWN_LINES = 8
"""Lines of a log that an error shows."""

BUFFER_BYTES = 2**20
"""Bytes of a channel that are held for a reader."""


class Child(Protocol):
    """A running process, on this host or on another one."""

    @property
    def host(self) -> str:
        """Address under which its host is reached."""
        ...

    @property
    def pid(self) -> int:
        """Its id on its host."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit code; negative for a signal, None while it runs."""
        ...

    @property
    def last_words(self) -> str:
        """The last lines that it wrote to its log; nothing of an earlier process with that log."""
        ...

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """The channel to it, if there is one."""
        ...

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """The channel from it."""
        ...

    def kill(self) -> None:
        """Ends its process group at once."""
        ...

    async def wait(self) -> int:
        """Waits for its end."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """Asks its process group to end, and kills what is left of it after a time."""
        ...


class LocalChild:
    """A process on this host; see `Child`."""

    host = "127.0.0.1"

    def __init__(self, process: Process, tie: int, output: "Output") -> None:
        """Use `start_child`."""
        self._process, self._tie, self._output = process, tie, output

    @property
    def pid(self) -> int:
        """The process's id, which is that of its group too."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """See `Child`."""
        return self._process.returncode

    @property
    def last_words(self) -> str:
        """See `Child`."""
        return self._output.tail()

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """See `Child`."""
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """See `Child`."""
        return self._process.stdout

    def kill(self) -> None:
        """See `Child`."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """See `Child`."""
        return await self._process.wait()

    async def stop(self, timeout_s: float) -> None:
        """See `Child`."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        if self._tie >= 0:
            os.close(self._tie)
            self._tie = -1

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def start_child(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    channel: bool = False,
) -> LocalChild:
    """Starts a command; what it writes is appended to `log`, but for what goes over a channel.

    Raises `WorkerError` for a command that can't be started.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        written = Output.from_now_on(log)
    except OSError as error:
        raise WorkerError(f"{log.stem} has no place for its log: {error}") from None
    watched, tie = os.pipe()
    pipe = PIPE if channel else DEVNULL
    try:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-E", str(attached.PATH), str(watched), *command),
                stdin=pipe,
                stdout=PIPE if channel else output,
                stderr=output,
                pass_fds=(watched,),
                env=child_environment(environment or {}),
                start_new_session=True,
                limit=BUFFER_BYTES,
            )
    except OSError as error:
        os.close(tie)
        raise WorkerError(f"{command[0]} did not start: {error}") from None
    finally:
        os.close(watched)
    return LocalChild(process, tie, written)


@dataclass(frozen=True, slots=True)
class Output:
    """What one process writes to a log that others have written to before it."""

    log: Path
    start: int
    """Bytes of the log before it."""

    @classmethod
    def from_now_on(cls, log: Path) -> Self:
        """Of a process that is about to be started."""
        try:
            return cls(log, log.stat().st_size)
        except FileNotFoundError:
            return cls(log, 0)

    def tail(self, lines: int = SHOWN_LINES) -> str:
        """Its last lines."""
        try:
            text = self.log.read_bytes()[self.start :].decode("utf-8", "replace")
        except FileNotFoundError:
            text = ""
        return "\n".join(text.splitlines()[-lines:]) or "(nothing)"


def fails_again(returncode: int) -> bool:
    """Whether a process that ended so would end so again: by an exit code other than `TEMPORARY`.

    A signal comes from outside: from whoever kills processes, or with the loss of a host. A process
    that ended in order has lost the one who asks it.
    """
    return returncode > 0 and returncode != TEMPORARY


def last_line(child: Child) -> str:
    """What a process wrote last: the reason, where an error ended it."""
    return child.last_words.splitlines()[-1]


def log_tail(log: Path, lines: int = SHOWN_LINES) -> str:
    """The last lines of a log, whoever wrote them."""
    return Output(log, 0).tail(lines)
