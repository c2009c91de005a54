"""The ranks of a trainer as processes: started, asked through the first one, and ended together."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wideseek_core import ConfigError, RanksLost, TrainError, WorkerError, WorkerLost, errors
from wideseek_core.config import environment as variable
from wideseek_core.frames import HEAD, PICKLE, Kind, frame, read_head
from wideseek_core.processes import REFUSED, TEMPORARY, Child, fails_again, last_line
from wideseek_rl.cluster.launcher import Launcher, Slot, SlotRequest
from wideseek_rl.trainers.remote.requests import Close, Done, Failed, Request, Weight

A = TypeVar("A")

STOP_TIMEOUT_S = 20.0
LAST_WORDS_S = 1.0
"""Time for what a rank said before it ended to arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCommand:
    """What is started, once a rank."""

    module: str
    """Run as `python -m`; takes its setup as its only argument."""
    setup: str
    """The setup as JSON."""
    count: int = 1
    gpus: int = 0
    """GPUs of each rank."""
    python: Path | None = None
    """The interpreter of the environment that trains; null for the running one."""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables that every rank gets."""
    start_timeout_s: float = 600.0
    request_timeout_s: float = 3600.0


@dataclass(slots=True)
class RankGroup:
    """Running ranks. Open with `open_ranks`; requests are answered one after another."""

    command: RankCommand
    children: Sequence[Child]
    slots: Sequence[Slot]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _broken: str = ""

    async def ask(self, request: Request, kind: type[A]) -> A:
        """The answer to a request. Raises `RanksLost`, and what the ranks report.

        `TrainError` is raised, too, if a rank has ended and said why it can't go on.
        """
        async with self._exchange(request):
            answer = await self._receive(self.command.request_timeout_s)
        assert isinstance(answer, kind), answer
        return answer

    @property
    def usable(self) -> bool:
        """Whether all ranks run and wait for a request."""
        return not self._broken and all(child.returncode is None for child in self.children)

    async def weights(self, request: Request) -> AsyncIterator[Weight]:
        """The tensors that a request is answered with. They have to be read to the end."""
        async with self._exchange(request):
            while not isinstance(
                answer := await self._receive(self.command.request_timeout_s), Done
            ):
                assert isinstance(answer, Weight), answer
                yield answer

    async def started(self) -> None:
        """Waits until all ranks hold the model. Raises `TrainError` with the reason if not."""
        limit = self.command.start_timeout_s
        self._broken = "the trainer's ranks did not start"  # nobody would read a request to end
        try:
            answer = await self._receive(limit, "start")
        except RanksLost:
            self._raise_refusal("did not start")
            raise
        assert isinstance(answer, Done), answer
        self._broken = ""

    @asynccontextmanager
    async def _exchange(self, request: Request) -> AsyncGenerator[None]:
        """Sends a request. If its answers are not read to the end, the ranks are of no more use."""
        async with self._lock:
            if self._broken:
                raise RanksLost(self._broken)
            self._broken = "a request to the trainer's ranks was broken off"
            stream = self.children[0].stdin
            assert stream is not None
            stream.write(frame(Kind.ASK, 0, PICKLE.dumps(request)))
            try:
                yield
            except RanksLost:
                self._raise_refusal("ended", REFUSED)
                raise
            self._broken = ""

    async def _receive(self, timeout_s: float, what: str = "answer") -> object:
        try:
            answer = await self._answer(timeout_s)
        except TimeoutError:
            raise TrainError(f"the trainer's ranks did not {what} within {timeout_s:g} s") from None
        if isinstance(answer, Failed):
            if answer.intact:
                self._broken = ""
            raise _reported(answer)
        return answer

    async def _answer(self, timeout_s: float) -> object:
        """The next message of rank 0. Raises `RanksLost` if a rank has ended, `TimeoutError`."""
        stream = self.children[0].stdout
        assert stream is not None
        watched = [asyncio.create_task(child.wait()) for child in self.children]
        reading = asyncio.create_task(_message(stream))
        try:
            await asyncio.wait(
                [reading, *watched], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not reading.done() and any(task.done() for task in watched):
                await asyncio.wait([reading], timeout=LAST_WORDS_S)
            if not reading.done() and not any(task.done() for task in watched):
                raise TimeoutError
            answer = reading.result() if reading.done() else None
            if answer is None:
                await asyncio.wait(watched, timeout=LAST_WORDS_S)
                raise RanksLost(self._loss())
            return answer
        finally:
            for task in (reading, *watched):
                task.cancel()

    def _raise_refusal(self, what: str, code: int | None = None) -> None:
        """Raises `TrainError` if the rank to blame ended by an error that would come again."""
        for slot, child in self._ended()[:1]:
            returncode = child.returncode or 0
            if returncode == code or (code is None and fails_again(returncode)):
                problem = f"{slot.name} {what}: {last_line(child)}; see {slot.log}"
                raise TrainError(problem) from None

    def _loss(self) -> str:
        """Which rank ended first, as far as exit codes tell, and what it wrote last."""
        ended = self._ended()
        if not ended:
            return "the trainer's first rank closed its channel"
        slot, child = ended[0]
        text = " ".join(child.last_words.split())
        return f"a rank of the trainer ended: {slot.name} with exit code {child.returncode}: {text}"

    def _ended(self) -> list[tuple[Slot, Child]]:
        """The ranks that ended: the one to blame before those it took along."""
        ended = [
            (slot, child)
            for slot, child in zip(self.slots, self.children, strict=True)
            if child.returncode is not None
        ]
        return sorted(ended, key=lambda pair: _rank_of_blame(pair[1].returncode or 0))

    async def close(self) -> None:
        """Ends the ranks."""
        stream = self.children[0].stdin
        if stream is not None and not self._broken:
            with contextlib.suppress(OSError, RuntimeError):
                stream.write(frame(Kind.ASK, 0, PICKLE.dumps(Close())))
                stream.close()
            ending = [asyncio.create_task(child.wait()) for child in self.children]
            await asyncio.wait(ending, timeout=STOP_TIMEOUT_S)
            for task in ending:
                task.cancel()
        await asyncio.gather(*(child.stop(LAST_WORDS_S) for child in self.children))


@asynccontextmanager
async def open_ranks(command: RankCommand, launcher: Launcher) -> AsyncGenerator[RankGroup]:
    """Starts the ranks; they hold the model when the block begins, and end with it.

    Raises `ConfigError` if there is no place for them or the model can't be trained so, `RanksLost`
    if one or its place is lost while they start, and `TrainError` with the reason if one ends by an
    error of its own, which would come again.
    """
    request = SlotRequest(role="trainer", count=command.count, gpus=command.gpus)
    async with AsyncExitStack() as stack:
        try:
            slots = by_host(await stack.enter_async_context(launcher.slots(request)))
            children = await _started(command, slots)
        except WorkerLost as error:
            raise RanksLost(f"a rank of the trainer did not start: {error}") from None
        except WorkerError as error:
            raise TrainError(f"a rank of the trainer did not start: {error}") from None
        group = RankGroup(command, children, slots)
        try:
            await group.started()
            yield group
        finally:
            await group.close()


async def _started(command: RankCommand, slots: Sequence[Slot]) -> list[Child]:
    """All processes, or none. Raises `WorkerError`."""
    children: list[Child] = []
    try:
        port = await slots[0].free_port()
        for rank, slot in enumerate(slots):
            children.append(await _start(command, slots, rank, slot, port))
    except BaseException:
        await asyncio.gather(*(child.stop(0) for child in children))
        raise
    return children


def by_host(slots: Sequence[Slot]) -> list[Slot]:
    """Places with those of a host behind one another, so that neighbouring ranks share hosts."""
    hosts = list(dict.fromkeys(slot.host for slot in slots))
    return sorted(slots, key=lambda slot: hosts.index(slot.host))


def rank_command(command: RankCommand) -> tuple[str, ...]:
    """The command line of every rank."""
    python = str(command.python or sys.executable)
    return (python, "-W", "ignore", "-m", command.module, command.setup)


async def _start(
    command: RankCommand, slots: Sequence[Slot], rank: int, slot: Slot, port: int
) -> Child:
    hosts = list(dict.fromkeys(other.host for other in slots))
    beside = [other for other in slots if other.host == slot.host]
    environment = {  # as torchrun sets them
        "RANK": str(rank),
        "LOCAL_RANK": str(beside.index(slot)),
        "WORLD_SIZE": str(len(slots)),
        "LOCAL_WORLD_SIZE": str(len(beside)),
        "GROUP_RANK": str(hosts.index(slot.host)),
        "GROUP_WORLD_SIZE": str(len(hosts)),
        "MASTER_ADDR": slots[0].host,
        "MASTER_PORT": str(port),
        "TQDM_DISABLE": "1",
        **command.variables,
    }
    if all(host.startswith("127.") for host in hosts) and not variable("GLOO_SOCKET_IFNAME", ""):
        environment["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    devices = [device for other in beside for device in other.devices or ()]
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
    return await slot.start(
        rank_command(command),
        environment=environment,
        channel=rank == 0,
    )


def _rank_of_blame(returncode: int) -> int:
    """Kills before errors before what becomes of ranks that lost a peer: NCCL aborts some."""
    if returncode in (TEMPORARY, -signal.SIGABRT):
        return 2
    return 0 if returncode < 0 else 1 if returncode else 3


async def _message(stream: asyncio.StreamReader) -> object | None:
    try:
        head = read_head(await stream.readexactly(HEAD.size))
        return PICKLE.loads(await stream.readexactly(head.size))
    except (asyncio.IncompleteReadError, OSError):
        return None


def _reported(failed: Failed) -> Exception:
    """The error that the ranks name."""
    kind = getattr(errors, failed.error, TrainError)
    if isinstance(kind, type) and issubclass(kind, TrainError | ConfigError):
        return kind(failed.message)
    return TrainError(failed.message)
