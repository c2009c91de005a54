"""The side of a helper process that `wideseek_core.workers` talks to.

Requests come on standard input, answers go to standard output, and what libraries print goes to
standard error. Ctrl-C is left to the process that started the helper. A helper on another host is
given an address in its environment instead, and connects to it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

from wideseek_core.config import take_environment
from wideseek_core.errors import WideSeekError
from wideseek_core.frames import HEAD, PICKLE, Coding, Kind, frame, read_head
from wideseek_core.processes import TEMPORARY

logger = logging.getLogger(__name__)

CHANNEL = "WIDESEEK_CHANNEL"
"""Environment variable of a helper whose starter is on another host: `HOST PORT TOKEN`."""
CONNECT_TIMEOUT_S = 60.0


def connect_back() -> None:
    """Makes a connection to the starter standard input and output, if it is to be reached so.

    The token shows the starter that it is its own helper. A starter that can't be reached ends the
    process: from another place it may be.
    """
    given = take_environment(CHANNEL)
    if not given:
        return
    host, port, token = given.split()
    try:
        connection = socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(token.encode())
    except OSError as error:
        sys.stderr.write(f"the starter at {host}:{port} can't be reached: {error}\n")
        raise SystemExit(TEMPORARY) from None
    for number in (0, 1):
        os.dup2(connection.fileno(), number)
    connection.close()


def serve(handle: Callable[[Any], object], coding: Coding = PICKLE) -> None:
    """Answers one request after the other until the input ends. Blocks.

    The loss of who sends it is an end of the input.

    An exception of `handle` is reported to the one who asked, as itself if it is a
    `WideSeekError`, else as a `WorkerError`.
    """
    with contextlib.suppress(ConnectionError), _private_output() as output:
        while head := sys.stdin.buffer.read(HEAD.size):
            if len(head) != HEAD.size:
                return
            kind, number, size = read_head(head)
            data = sys.stdin.buffer.read(size)
            if len(data) != size:
                return
            if kind == Kind.CANCEL:
                continue
            try:
                answer = frame(Kind.ANSWER, number, coding.dumps(handle(coding.loads(data))))
            except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits hears of it
                answer = _failure(number, error, coding)
            if kind == Kind.ASK:
                output.write(answer)
                output.flush()


def serve_concurrently(handle: Callable[[Any], Awaitable[object]], coding: Coding = PICKLE) -> None:
    """Answers many requests at once until the input ends, and leaves those under way. Blocks.

    The loss of who sends it is an end of the input. `handle` is started for each request in the
    order in which they come.
    """
    with _private_output() as output:
        asyncio.run(_Server(handle, coding, output).run())


class _Server:
    def __init__(
        self, handle: Callable[[Any], Awaitable[object]], coding: Coding, output: BinaryIO
    ) -> None:
        self._handle, self._coding, self._output = handle, coding, output
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin.buffer)
        try:
            while True:
                head = read_head(await reader.readexactly(HEAD.size))
                data = await reader.readexactly(head.size)
                if head.kind == Kind.CANCEL:
                    if (task := self._tasks.get(head.number)) is not None:
                        task.cancel()
                    continue
                self._tasks[head.number] = asyncio.create_task(self._answer(*head[:2], data))
        except (EOFError, ConnectionError):
            # Nothing here is worth keeping, and what is under way would be waited for.
            os._exit(0)

    async def _answer(self, kind: int, number: int, data: bytes) -> None:
        try:
            value = await self._handle(self._coding.loads(data))
            answer = frame(Kind.ANSWER, number, self._coding.dumps(value))
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits hears of it
            answer = _failure(number, error, self._coding)
        finally:
            self._tasks.pop(number, None)
        if kind == Kind.ASK:
            self._output.write(answer)
            self._output.flush()


def _failure(number: int, error: Exception, coding: Coding) -> bytes:
    if isinstance(error, WideSeekError):
        given = [type(error).__name__, str(error)]
    else:
        logger.error("a request failed", exc_info=error)
        given = ["WorkerError", f"{type(error).__name__}: {error}"]
    return frame(Kind.ERROR, number, coding.dumps(given))


def _private_output() -> BinaryIO:
    """The real standard output; whatever else is written there goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connect_back()
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output
