"""Runs a command that ends with the process that started it: `python attached.py FD COMMAND ...`.

`FD` is the reading end of a pipe whose writing end only the starter holds. When it closes, however
the starter ended, the command's process group is asked to end and then killed. When the command
ends first, what it left in its group is killed. Run by its path, in a session of its own; it
imports nothing but the standard library, since it stands before every server and rank.
"""

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

PATH = Path(__file__)
"""This file, which is run by its path."""

STOP_S = 10.0
"""Time for the group to end by itself."""
_POLL_S = 0.5
_NOT_FOUND = 127


def main() -> NoReturn:
    """Becomes the command, with a watcher beside it."""
    pipe, command = int(sys.argv[1]), sys.argv[2:]
    starter_side = os.getpid()
    if os.fork() == 0:
        _watch(pipe, starter_side)
        os._exit(0)
    os.close(pipe)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} did not start: {error.strerror}\n")
        os._exit(_NOT_FOUND)


def _watch(pipe: int, command: int) -> None:
    """Waits for the end of the starter or of the command, and ends the group."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == command:
        ready, _, _ = select.select([pipe], [], [], _POLL_S)
        if ready and not os.read(pipe, 1):
            _signal_group(signal.SIGTERM)
            _wait_for_end(command)
            break
    _signal_group(signal.SIGKILL)


def _wait_for_end(command: int) -> None:
    end = time.monotonic() + STOP_S
    while os.getppid() == command and time.monotonic() < end:
        time.sleep(0.05)


def _signal_group(number: signal.Signals) -> None:
    """Signals everybody in this process's group, which the command leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpgrp(), number)


if __name__ == "__main__":
    main()
