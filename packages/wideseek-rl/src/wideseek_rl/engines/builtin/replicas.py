"""Several engines over the same weights, each in a process of its own."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from safetensors.torch import save
from torch import Tensor

from wideseek_core.counting import counted
from wideseek_core.errors import ConfigError, PolicyError, WorkerError, WorkerLost
from wideseek_core.frames import PICKLE
from wideseek_core.policy import Generated, Sampling
from wideseek_core.processes import fails_again
from wideseek_core.workers import Worker
from wideseek_rl.cluster.launcher import Launcher, SlotRequest
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.messages import CloseSession, Generate, LoadWeights, Setup
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.sync.in_process import InProcessSync
from wideseek_rl.sync.protocol import WeightSync
from wideseek_rl.threads import in_thread
from wideseek_rl.trainers.protocol import Trainer

logger = logging.getLogger(__name__)

HELPER = "wideseek_rl.engines.builtin.worker"

MAX_ATTEMPTS = 3
"""Processes that may die of one request before it is given up."""
MAX_STARTS = 3
"""Processes that may end while they start before a replica is given up."""


class ReplicatedEngine:
    """Samples from a `Decoder` in several processes; a `RolloutEngine`.

    One process computes on one core: a small model's products are too small to share among cores,
    but the conversations of many agents are not. A session stays with the process it began in,
    where its cache is; a new one goes where the fewest are open. What is sampled is what one
    `TorchEngine` would sample (but for ties within rounding).

    A process that dies is replaced by a new one with the present weights, and its requests are sent
    again: the ids of a prompt are the whole state. Use with `async with`:

        async with ReplicatedEngine(model, processes=2) as engine:
            made = await engine.generate(ids, session="a", sampling=Sampling())

    Args:
        model: its shape, and the weights to begin with.
        config: of each process's engine.
        processes: how many.
        start: starts the process of a number; None for one on this host.

    Raises:
        PolicyError: on entry, when a process does not start.
    """

    def __init__(
        self,
        model: Decoder,
        config: BuiltinEngineConfig | None = None,
        *,
        processes: int,
        start: Callable[[int], Awaitable[Worker]] | None = None,
    ) -> None:
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        self.config = config or BuiltinEngineConfig()
        self.model = model
        self.version = 0
        """Number of updates that the weights have seen."""
        self.restarts = 0
        """Processes that have died and were replaced."""
        self._start = start or _local_worker
        self._replicas = [_Replica(self, number) for number in range(processes)]
        self._places: dict[str, _Replica] = {}
        self._sessions: Counter[_Replica] = Counter()
        self._weights = b""

    async def __aenter__(self) -> Self:
        self._weights = _encoded(iter(self.model.state_dict().items()), self.version)
        try:
            await asyncio.gather(*(replica.worker() for replica in self._replicas))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `TorchEngine.generate`."""
        request = Generate(tuple(prompt_ids), session, sampling)
        for _ in range(MAX_ATTEMPTS):
            replica = self._place(session)
            try:
                worker = await replica.worker()
            except PolicyError as error:
                self._give_up(replica, error)
                continue
            try:
                return await worker.ask(request)
            except WorkerError as error:
                if worker.is_alive:
                    raise PolicyError(f"sampling failed: {error}") from None
                logger.warning("%s: a process that samples has died; sent again", session)
        raise PolicyError(f"{MAX_ATTEMPTS} processes that sample have died of one request")

    def _give_up(self, replica: "_Replica", error: PolicyError) -> None:
        """Lets a replica go that can't be replaced. Raises the error if it is the last one."""
        if replica in self._replicas:
            if len(self._replicas) == 1:
                raise error
            self._replicas.remove(replica)
            replica.given_up = True
            logger.error("%s; left: %s", error, counted(len(self._replicas), "process"))
        for session in [one for one, place in self._places.items() if place is replica]:
            del self._places[session]
        self._sessions.pop(replica, None)

    async def close_session(self, session: str) -> None:
        """Frees a session's cache; closing one twice, or one that is not known, is fine."""
        replica = self._places.pop(session, None)
        if replica is not None:
            self._sessions[replica] -= 1
            replica.tell(CloseSession(session))

    def sync(self, trainer: Trainer) -> WeightSync:
        """Connects the engine to a trainer; see `RolloutEngine`."""
        return InProcessSync(self, trainer.weights)

    async def load_weights(self, tensors: Iterator[tuple[str, Tensor]], version: int) -> None:
        """Sends weights to all processes and labels them `version`.

        The processes have weights of their own: until then they sample with the old ones.
        """
        self._weights = await in_thread(lambda: _encoded(tensors, version))
        self.version = version
        await asyncio.gather(*(replica.load(self._weights) for replica in self._replicas))

    async def start_worker(self, number: int, *, again: bool) -> Worker:
        """A process with the present weights. Raises `PolicyError`."""
        self.restarts += again
        for attempt in range(1, MAX_STARTS + 1):
            try:
                return await self._started(number)
            except WorkerLost as error:
                if attempt == MAX_STARTS:
                    raise PolicyError(f"a process to sample in did not start: {error}") from None
                logger.warning("a process to sample in ended while it started: %s", error)
            except (ConfigError, WorkerError) as error:  # no place for it, or it would end so again
                raise PolicyError(f"a process to sample in did not start: {error}") from None
        raise AssertionError

    async def _started(self, number: int) -> Worker:
        """Raises `WorkerLost` if the process was ended, `WorkerError` if it ended by itself.

        One that refuses what it gets has ended by itself, too.
        """
        setup = Setup(self.model.config, self.model.output_weight.dtype, self.config)
        worker = await self._start(number)
        try:
            await worker.ask(setup)
            await worker.ask_encoded(self._weights)
        except WorkerError as error:
            if worker.is_alive:
                await worker.kill()
                raise
            await worker.stop()  # a kill might come before its own exit code
            if fails_again(worker.returncode or 0):
                raise
            raise WorkerLost(str(error)) from None
        except BaseException:
            await worker.kill()
            raise
        return worker

    def _place(self, session: str) -> "_Replica":
        replica = self._places.get(session)
        if replica is None:
            replica = min(self._replicas, key=self._sessions.__getitem__)
            self._places[session] = replica
            self._sessions[replica] += 1
        return replica

    async def _stop(self) -> None:
        await asyncio.gather(*(replica.stop() for replica in self._replicas))
        self._places.clear()
        self._sessions.clear()


class _Replica:
    """The place of one process, which may be another one after some time."""

    def __init__(self, engine: ReplicatedEngine, number: int) -> None:
        self._engine, self._number = engine, number
        self.given_up = False
        """Whether the engine does without it; nobody would end a process that it starts."""
        self._worker: Worker | None = None
        self._lock = asyncio.Lock()

    async def worker(self) -> Worker:
        """The process, started or replaced if need be. Raises `PolicyError`."""
        async with self._lock:
            if self.given_up:
                raise PolicyError("a process to sample in was given up")
            dead = self._worker is not None and not self._worker.is_alive
            if dead and self._worker is not None:
                await self._worker.kill()
                logger.error("a process that samples has died (id %d)", self._worker.pid)
            if dead or self._worker is None:
                self._worker = None
                self._worker = await self._engine.start_worker(self._number, again=dead)
                if dead:
                    logger.warning("another one samples in its place (id %d)", self._worker.pid)
            return self._worker

    def tell(self, message: object) -> None:
        """Sends a message to the process if it is there."""
        if self._worker is not None:
            self._worker.tell(message)

    async def load(self, weights: bytes) -> None:
        """Gives the process these weights; one that has died gets them when it is replaced."""
        async with self._lock:
            worker = self._worker
            if worker is None or not worker.is_alive:
                return
            try:
                await worker.ask_encoded(weights)
            except WorkerError as error:
                if worker.is_alive:
                    raise PolicyError(f"a process can't load weights: {error}") from None

    async def stop(self) -> None:
        """Ends the process."""
        if self._worker is not None:
            await self._worker.stop()


async def _local_worker(_number: int) -> Worker:
    return await Worker.start(HELPER)


async def started_worker(launcher: Launcher, number: int) -> Worker:
    """A process at a place that a launcher finds. Raises `WorkerError` and `ConfigError`."""
    stack = AsyncExitStack()
    try:
        request = SlotRequest(role="engine", first=number)
        (slot,) = await stack.enter_async_context(launcher.slots(request))
        child = await slot.start((sys.executable, "-m", HELPER), channel=True)
    except BaseException:
        await stack.aclose()
        raise
    return Worker(child, PICKLE, ended=stack.aclose)


def _encoded(tensors: Iterator[tuple[str, Tensor]], version: int) -> bytes:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors}
    return PICKLE.dumps(LoadWeights(version, save(state)))
