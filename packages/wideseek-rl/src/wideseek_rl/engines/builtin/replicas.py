"""Several engines over the same weights, each in a process of its own."""

import asyncio
import contextlib
import itertools
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from safetensors.torch import save
from torch import Tensor

from wideseek_core.errors import PolicyError
from wideseek_core.policy import Generated, Sampling
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.messages import (
    Answer,
    Cancel,
    Close,
    Generate,
    Setup,
    Weights,
    packed,
    receive,
)
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.sync.in_process import InProcessSync
from wideseek_rl.sync.protocol import WeightSync
from wideseek_rl.threads import in_thread
from wideseek_rl.trainers.protocol import Trainer

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 10.0
"""How long a process may take to end once its input has."""


class ReplicatedEngine:
    """Samples from a `Decoder` model in several processes; a `wideseek_core.TokenEngine`.

    One process computes on one core: a small model's products are too small to share among cores,
    but the conversations of many agents are not. A session stays with the process it began in,
    where its cache is; a new one goes where the fewest are open. What is sampled is what one
    `TorchEngine` would sample (but for ties within rounding).

    A process that dies takes its requests with it (`PolicyError`); the
    others go on. Use with `async with`:

        async with ReplicatedEngine(model, processes=2) as engine:
            made = await engine.generate(ids, session="a", sampling=Sampling())

    Args:
        model: its shape, and the weights to begin with.
        config: of each process's engine.
        processes: how many.

    Raises:
        PolicyError: on entry, when a process does not start.
    """

    def __init__(
        self, model: Decoder, config: BuiltinEngineConfig | None = None, *, processes: int
    ) -> None:
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        self.config = config or BuiltinEngineConfig()
        self.model = model
        self.version = 0
        """Number of updates the weights have seen."""
        self._count = processes
        self._replicas: list[_Replica] = []
        self._places: dict[str, _Replica] = {}
        self._open: Counter[_Replica] = Counter()

    async def __aenter__(self) -> Self:
        setup = Setup(self.model.config, self.model.output_weight.dtype, self.config)
        try:
            for _ in range(self._count):
                self._replicas.append(await _Replica.start(setup))
            message = _weights_message(iter(self.model.state_dict().items()), self.version)
            await asyncio.gather(*(replica.load(message) for replica in self._replicas))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `TorchEngine.generate`."""
        return await self._place(session).generate(tuple(prompt_ids), session, sampling)

    async def close_session(self, session: str) -> None:
        """Frees a session's cache; closing one twice, or one that is not known, is fine."""
        replica = self._places.pop(session, None)
        if replica is not None:
            self._open[replica] -= 1
            replica.send(Close(session))

    def sync(self, trainer: Trainer) -> WeightSync:
        """Connects the engine to a trainer; see `RolloutEngine`."""
        return InProcessSync(self, trainer.weights)

    async def load_weights(self, tensors: Iterator[tuple[str, Tensor]], version: int) -> None:
        """Sends weights to all processes and labels them `version`.

        The processes have weights of their own: until then they sample with the old ones.
        """
        message = await in_thread(lambda: _weights_message(tensors, version))
        self.version = version
        # A process that has just died fails its requests; the weights of the others are fine.
        loading = [replica.load(message) for replica in self._living()]
        await asyncio.gather(*loading, return_exceptions=True)

    def _place(self, session: str) -> "_Replica":
        replica = self._places.get(session)
        if replica is None:
            replica = min(self._living(), key=self._open.__getitem__)
            self._places[session] = replica
            self._open[replica] += 1
        return replica

    def _living(self) -> list["_Replica"]:
        living = [replica for replica in self._replicas if replica.alive]
        if not living:
            raise PolicyError("all processes that sample have ended")
        return living

    async def _end(self) -> None:
        await asyncio.gather(*(replica.end() for replica in self._replicas))
        self._replicas.clear()
        self._places.clear()
        self._open.clear()


class _Replica:
    """One process, and who waits for it."""

    def __init__(self, process: Process, setup: Setup) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Generated]] = {}
        self._loading: list[asyncio.Future[None]] = []
        self._ending = False
        self.alive = True
        self.send(setup)
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, setup: Setup) -> "_Replica":
        command = (sys.executable, "-m", "wideseek_rl.engines.builtin.worker")
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            raise PolicyError(f"a process to sample in did not start: {error}") from None
        return cls(process, setup)

    def send(self, message: object) -> None:
        """Sends a message, or to nobody."""
        self._write(packed(message))

    async def load(self, weights: bytes) -> None:
        """Sends weights and waits until they are there. Raises `PolicyError`."""
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading.append(loaded)
        self._write(weights)
        if not self.alive:
            self._lose()
        await loaded

    async def generate(self, ids: tuple[int, ...], session: str, sampling: Sampling) -> Generated:
        if not self.alive:
            raise self._loss()
        number = next(self._numbers)
        future: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self.send(Generate(number, ids, session, sampling))
        try:
            return await future
        except asyncio.CancelledError:
            self.send(Cancel(number))
            raise
        finally:
            self._waiting.pop(number, None)

    async def end(self) -> None:
        """Ends the process, by force if it does not listen."""
        self._ending = True
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), SHUTDOWN_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._listener

    async def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take(await receive(stdout))
        self.alive = False
        self._lose()
        if not self._ending:
            code = await self._process.wait()
            logger.error("a process that samples has ended (exit code %d)", code)

    def _take(self, message: object) -> None:
        if not isinstance(message, Answer):
            _settle(self._loading.pop(0), None)
            return
        future = self._waiting.pop(message.number, None)
        if future is not None:
            _settle(future, message.outcome)

    def _write(self, data: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if self.alive and not stdin.is_closing():
            stdin.write(data)

    def _lose(self) -> None:
        for future in (*self._waiting.values(), *self._loading):
            _settle(future, self._loss())
        self._loading.clear()

    def _loss(self) -> PolicyError:
        return PolicyError("the process that samples has ended")


def _weights_message(tensors: Iterator[tuple[str, Tensor]], version: int) -> bytes:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors}
    return packed(Weights(version, save(state)))


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, PolicyError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
