"""Ranks as forks of one process that has imported what they need: NeMo alone takes 15 seconds.

`ForkedLauncher` starts them, and commands `python -c CODE` beside them; as a program this file is
the process that all of these are forks of.
"""

import asyncio
import importlib
import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from wideseek_core.config import child_environment
from wideseek_core.ports import free_port
from wideseek_core.processes import BUFFER_BYTES, Output
from wideseek_rl.cluster.launcher import SlotRequest

TORCH = "wideseek_rl.trainers.remote.torch_ranks"
NEMO = "wideseek_rl.trainers.megatron.ranks"
"""What ranks run."""
MAX_REQUEST = 1 << 20


class ForkedLauncher:
    """Starts ranks on this machine; a `Launcher`."""

    def __init__(self, logs: Path, module: str) -> None:
        self.logs, self.module = logs, module
        self.hosts: tuple[str, ...] = ("127.0.0.1",)
        """Loopback addresses in the place of hosts; ranks are spread over them in turn."""
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(theirs.fileno()), module],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env=child_environment({"OMP_NUM_THREADS": "1"}),
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.kill()
        self._process.wait()

    def fork(self, request: Mapping[str, object], ends: Sequence[int]) -> None:
        """Has a rank started, which gets copies of the descriptors."""
        socket.send_fds(self._requests, [json.dumps(request).encode()], list(ends))

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence["ForkedSlot"]]:
        """See `Launcher`."""
        yield [
            ForkedSlot(name=name, launcher=self, host=self.hosts[number % len(self.hosts)])
            for number, name in enumerate(request.names)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkedSlot:
    """See `Slot`."""

    name: str
    launcher: ForkedLauncher
    host: str
    devices: tuple[int, ...] | None = None

    @property
    def log(self) -> Path:
        return self.launcher.logs / f"{self.name}.log"

    async def free_port(self) -> int:
        return free_port()

    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        channel: bool = False,
    ) -> "ForkedChild":
        assert command[-2] in (self.launcher.module, "-c"), command
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output = Output.from_now_on(self.log)
        ours, theirs = socket.socketpair()
        report, reporting = os.pipe()
        request = {
            "command": command[-2:],
            "log": str(self.log.absolute()),
            "environment": dict(environment or {}),
            "folder": os.getcwd(),
            "channel": channel,
            "key": multiprocessing.current_process().authkey.hex(),
        }
        self.launcher.fork(request, (theirs.fileno(), reporting))
        theirs.close()
        os.close(reporting)
        child = ForkedChild(host=self.host, output=output)
        if channel:
            child.stdout, child.stdin = await asyncio.open_connection(sock=ours, limit=BUFFER_BYTES)
        else:
            ours.close()
        await child.watch(report)
        return child


class ForkedChild:
    """See `wideseek_core.processes.Child`."""

    def __init__(self, *, host: str, output: Output) -> None:
        self.host = host
        self._output = output
        self.pid = 0
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self._ended = asyncio.Event()

    async def watch(self, report: int) -> None:
        """Waits for the id of the process, and from then on for its end."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(report, "rb")
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, pipe)
        self.pid = int(await reader.readline())
        self._watcher = asyncio.create_task(self._wait(reader, transport))

    async def _wait(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        self.returncode = int(await reader.readline() or -9)
        transport.close()
        self._ended.set()

    @property
    def last_words(self) -> str:
        return self._output.tail()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def stop(self, timeout_s: float) -> None:
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), timeout_s)
        self._signal(signal.SIGKILL)
        await self.wait()
        await self._watcher
        if self.stdin is not None:
            self.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def serve(requests: socket.socket) -> None:
    """Forks for every request; ends when nobody can make one any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what is forked here
    while True:
        data, ends, _, _ = socket.recv_fds(requests, MAX_REQUEST, 2)
        if not data:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            look_after(json.loads(data), *ends)
        for end in ends:
            os.close(end)


def look_after(request: Mapping[str, Any], channel: int, report: int) -> None:
    """Starts one rank, says its id and how it ended, and ends it if nobody listens any more."""
    rank = os.fork()
    if rank == 0:
        os.close(report)
        become(request, channel)
    os.close(channel)
    os.write(report, b"%d\n" % rank)
    listener = select.poll()
    listener.register(report, 0)  # an error is all that can be seen: the other end is closed
    while (found := os.waitpid(rank, os.WNOHANG))[0] == 0:
        if listener.poll(50):
            with suppress(ProcessLookupError):
                os.killpg(rank, signal.SIGKILL)
    with suppress(BrokenPipeError):
        os.write(report, b"%d\n" % os.waitstatus_to_exitcode(found[1]))
    os._exit(0)


def become(request: Mapping[str, Any], channel: int) -> None:
    """Is a rank to its end."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    output = channel if request["channel"] else log
    for number, end in ((0, channel), (1, output), (2, log)):
        os.dup2(end, number)
    os.close(channel)
    multiprocessing.current_process().authkey = bytes.fromhex(request["key"])
    what, argument = request["command"]
    sys.argv = [what, argument]
    code = 0
    try:
        if what == "-c":
            exec(argument, {})
        else:
            importlib.import_module(what).main()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the log has to say it
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[2] == NEMO:
        from wideseek_rl.trainers.megatron import compat

        compat.install()
    else:
        importlib.import_module(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
