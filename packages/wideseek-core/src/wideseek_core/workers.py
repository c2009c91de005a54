"""Helper processes: started, asked over pipes, killed when they hang, replaced when they die.

A helper is a Python module that serves with `wideseek_core.helper`. It ends when its input does,
so none outlives the process that started it.

    async with WorkerPool("my_package.helper", processes=2) as pool:
        answer = await pool.ask({"page": "..."}, timeout_s=20.0)
"""

import asyncio
import contextlib
import itertools
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from wideseek_core import errors
from wideseek_core.errors import WideSeekError, WorkerError
from wideseek_core.frames import HEAD, PICKLE, Coding, Kind, frame, read_head
from wideseek_core.processes import Child, last_line

MAX_STOP_S = 10.0
"""How long a process may take to end once its input has."""


class Worker:
    """One helper process. Any number of requests may wait for it at once.

    `ask` raises `WorkerError` when the process has ended, and whatever of `wideseek_core.errors`
    the helper raised.
    """

    def __init__(
        self,
        process: Process | Child,
        coding: Coding,
        *,
        ended: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """A worker in a process that has a channel; `ended` is awaited when it is over."""
        self._after = ended
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._coding = process, coding
        self._stdin, self._stdout = process.stdin, process.stdout
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_alive = True
        """Whether it can be asked."""
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, module: str, *arguments: str, coding: Coding = PICKLE) -> Self:
        """Runs `python -m module arguments`. Raises `WorkerError`."""
        command = (sys.executable, "-m", module, *arguments)
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            raise WorkerError(f"the process {module} did not start: {error}") from None
        return cls(process, coding)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code; negative for a signal, None while it runs."""
        return self._process.returncode

    async def ask(self, value: object) -> Any:
        """The helper's answer. A cancelled request is cancelled in the helper too."""
        return await self.ask_encoded(self._coding.dumps(value))

    async def ask_encoded(self, data: bytes) -> Any:
        """`ask` for a value that is encoded already, to send it to several helpers."""
        if not self.is_alive:
            raise self._loss()
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._write(frame(Kind.ASK, number, data))
        try:
            await self._drained()
            return await future
        except asyncio.CancelledError:
            self._write(frame(Kind.CANCEL, number, b""))
            raise
        finally:
            self._waiting.pop(number, None)

    def tell(self, value: object) -> None:
        """Sends what wants no answer; to a process that has ended, nothing."""
        self._write(frame(Kind.TELL, next(self._numbers), self._coding.dumps(value)))

    async def stop(self, max_s: float = MAX_STOP_S) -> None:
        """Lets the process finish and ends it, by force after `max_s`."""
        self._stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), max_s)
        except TimeoutError:
            self._kill()
        await self._ended()

    async def kill(self) -> None:
        """Ends the process at once."""
        self._kill()
        self._stdin.close()
        await self._ended()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _ended(self) -> None:
        await self._process.wait()
        await self._listener
        if self._after is not None:
            after, self._after = self._after, None
            await after()

    def _write(self, data: bytes) -> None:
        if self.is_alive and not self._stdin.is_closing():
            self._stdin.write(data)

    async def _drained(self) -> None:
        with contextlib.suppress(OSError):  # the listener reports a process that has ended
            await self._stdin.drain()

    async def _listen(self) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    head = read_head(await self._stdout.readexactly(HEAD.size))
                    self._take(head.kind, head.number, await self._stdout.readexactly(head.size))
        finally:  # whatever ended it: those who wait would wait for ever
            self.is_alive = False
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(self._loss())

    def _take(self, kind: int, number: int, data: bytes) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        value: Any = None
        try:
            value = self._coding.loads(data)
            failure = _error(*value) if kind == Kind.ERROR else None
        except Exception as error:  # noqa: BLE001 - whatever a helper's bytes make of the coding
            failure = WorkerError(f"the process's answer is unreadable: {error}")
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(value)

    def _loss(self) -> WorkerError:
        if isinstance(self._process, Process):  # what it wrote is on the terminal
            return WorkerError("the process has ended")
        return WorkerError(f"the process has ended: {last_line(self._process)}")


def _error(name: str, message: str) -> WideSeekError:
    """The error of this name, if it takes nothing but a message."""
    cls = getattr(errors, name, WorkerError)
    if not (isinstance(cls, type) and issubclass(cls, WideSeekError)):
        return WorkerError(message)
    try:
        return cls(message)
    except TypeError:
        return WorkerError(message)


class WorkerPool:
    """Helpers that are asked one thing at a time each. Use with `async with`.

    They start when they are needed. One that takes too long, dies, or is left alone by a cancelled
    request is killed; the next request starts another.
    """

    def __init__(
        self,
        module: str,
        *,
        processes: int,
        coding: Coding = PICKLE,
        setup: object = None,
    ) -> None:
        """`setup`, if it is not None, is the first thing that each process is asked."""
        self._module, self._coding, self._setup = module, coding, setup
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(worker.kill() for worker in idle))

    async def warm_up(self) -> None:
        """Starts one process ahead of the first request. Raises what its setup raises."""
        async with self._slots:
            self._idle.append(await self._take())

    async def ask(self, value: object, timeout_s: float | None = None) -> Any:
        """A helper's answer. Raises `TimeoutError`, `WorkerError`, and what the helper raised."""
        async with self._slots:
            worker = await self._take()
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await worker.ask(value)
            except WorkerError:
                await worker.kill()
                raise
            except WideSeekError:
                self._idle.append(worker)
                raise
            except BaseException:  # an answer is under way that nobody waits for
                await worker.kill()
                raise
            self._idle.append(worker)
            return answer

    async def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            await worker.kill()
        worker = await Worker.start(self._module, coding=self._coding)
        if self._setup is None:
            return worker
        try:
            await worker.ask(self._setup)
        except BaseException:
            await worker.kill()
            raise
        return worker
