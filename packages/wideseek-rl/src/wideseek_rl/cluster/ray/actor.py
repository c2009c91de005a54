"""The actor of one process of a run on a node: it starts the process, watches and ends it.

The process itself is a child of the actor, so that it may use another Python environment than
Ray's; it ends with the actor, and the actor with its node.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util import get_node_ip_address

from wideseek_core import attached
from wideseek_core.config import child_environment

STATUS_WAIT_S = 0.5
"""Longest wait for the end of the process in one question for its state."""
MAX_LOG_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an actor is."""

    node: str
    host: str
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the process is."""

    returncode: int | None
    log: bytes
    """What it wrote since it was last asked."""


class ProcessActor:
    """One process on this node."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = Path(tempfile.mkdtemp(prefix="wideseek-")) / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._tie = -1
        self._command: tuple[str, ...] = ()

    def place(self) -> Place:
        """Where this actor is."""
        gpus = tuple(int(gpu) for gpu in ray.get_gpu_ids())
        context = ray.get_runtime_context()
        return Place(node=context.get_node_id(), host=get_node_ip_address(), gpus=gpus)

    def free_port(self) -> int:
        """A port of this node that nothing listens on at present."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Starts the process; its id."""
        watched, self._tie = os.pipe()
        self._command = tuple(command)
        try:
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-E", str(attached.PATH), str(watched), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(watched,),
                    env=child_environment(environment),
                    start_new_session=True,
                )
        finally:
            os.close(watched)
        return self._process.pid

    def status(self, offset: int) -> Status:
        """The exit code if it has ended, and its log from a position on."""
        returncode = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                returncode = self._process.wait(STATUS_WAIT_S)
        log = b""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(offset)
                log = file.read(MAX_LOG_BYTES)
        return Status(returncode=returncode, log=log)

    def stop(self, timeout_s: float) -> int | None:
        """Asks the process group to end, and kills it after a time; the exit code."""
        if self._process is None:
            return None
        self._signal(signal.SIGTERM if timeout_s > 0 else signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self._signal(signal.SIGKILL)
        return self._process.wait()

    def about(self) -> dict[str, str]:
        """What runs here, for a person."""
        process = self._process
        state = "not started" if process is None else f"pid {process.pid}"
        if process is not None and (code := process.poll()) is not None:
            state = f"ended with exit code {code}"
        return {"name": self._name, "state": state, "command": " ".join(self._command)[:200]}

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
