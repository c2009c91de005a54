"""A trainer whose weights live in rank processes that NeMo-Aligner runs in."""

import asyncio
import contextlib
import os
import pickle
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from wideseek_core import TrainError
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.hf_format import read_config
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig, check_model
from wideseek_rl.trainers.megatron.requests import (
    Close,
    Done,
    Drift,
    Failed,
    Load,
    Logprobs,
    Metrics,
    Request,
    Save,
    Setup,
    Update,
    Values,
    Weight,
    Weights,
)
from wideseek_rl.trainers.protocol import UpdateMetrics

A = TypeVar("A")

MODULE = "wideseek_rl.trainers.megatron.ranks"
STOP_TIMEOUT_S = 20.0
MAX_LOG_CHARS = 2000
"""Characters of a rank's log that an error shows."""


@dataclass(slots=True)
class _Ranks:
    """The running processes."""

    processes: list[asyncio.subprocess.Process]
    log: Path

    @property
    def first(self) -> asyncio.subprocess.Process:
        """Rank 0, which talks to the client."""
        return self.processes[0]


class NemoAlignerTrainer:
    """Trains by NeMo-Aligner. Open one with `open_nemo_aligner`."""

    def __init__(self, setup: Setup, ranks: _Ranks) -> None:
        self._setup, self._ranks = setup, ranks
        self._lock = asyncio.Lock()

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Trains on the samples of one step. Raises `TrainError` if a rank has failed."""
        started = time.monotonic()
        live = [sample for sample in samples if self._has_gradient(sample)]
        metrics = UpdateMetrics(zero_advantage_samples=len(samples) - len(live))
        if live:
            answer = await self._ask(Update(live), Metrics)
            metrics = replace(
                metrics,
                samples=len(live),
                tokens_run=sum(map(len, live)),
                **answer.values,  # pyright: ignore[reportArgumentType]
            )
        return replace(metrics, seconds=time.monotonic() - started)

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._setup.loss.needs_all_tokens:
            return sample.trained > 0
        return bool((sample.weights * sample.advantages).any())

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[NDArray[Any]]:
        """Log-probabilities of the trained tokens of each sample, in nats."""
        return (await self._ask(Logprobs(list(samples)), Values)).values

    async def save(self, folder: Path) -> None:
        """Writes `model/` and `optimizer.safetensors`, which the torch trainer can load, too."""
        await self._ask(Save(folder), Done)

    async def load(self, folder: Path) -> None:
        """Takes over what this or the torch trainer wrote. Raises `TrainError`."""
        await self._ask(Load(folder), Done)

    async def drift(self) -> float:
        """How far apart the ranks' copies of the same parameters are: 0 if all is well."""
        return (await self._ask(Drift(), Metrics)).values["drift"]

    @property
    def processes(self) -> Sequence[asyncio.subprocess.Process]:
        """The ranks' processes, in their order."""
        return self._ranks.processes

    async def weights(self) -> AsyncIterator[tuple[str, NDArray[Any]]]:
        """All weights by their Hugging Face names, in float32, one after another."""
        async with self._lock:
            self._send(Weights())
            while True:
                answer = await self._receive()
                if isinstance(answer, Done):
                    return
                assert isinstance(answer, Weight)
                yield answer.name, answer.values

    async def _ask(self, request: Request, kind: type[A]) -> A:
        async with self._lock:
            self._send(request)
            answer = await self._receive()
        assert isinstance(answer, kind), answer
        return answer

    def _send(self, request: Request) -> None:
        data = pickle.dumps(request, protocol=5)
        stream = self._ranks.first.stdin
        assert stream is not None
        stream.write(len(data).to_bytes(8, "big") + data)

    async def _receive(self) -> object:
        limit = self._setup.config.update_timeout_s
        try:
            return await receive(self._ranks, limit)
        except TimeoutError:
            raise TrainError(f"the trainer's ranks did not answer within {limit:g} s") from None

    async def close(self) -> None:
        """Ends the ranks."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._send(Close())
        await stop(self._ranks)


async def receive(ranks: _Ranks, timeout_s: float) -> object:
    """The next answer of rank 0. Raises `TrainError` if a rank has ended, and `TimeoutError`."""
    stream = ranks.first.stdout
    assert stream is not None
    watched = [asyncio.create_task(process.wait()) for process in ranks.processes]
    reading = asyncio.create_task(_message(stream))
    try:
        await asyncio.wait([reading, *watched], timeout=timeout_s, return_when="FIRST_COMPLETED")
        if not reading.done() and any(task.done() for task in watched):
            await asyncio.wait([reading], timeout=1.0)  # what it said before it ended
        if not reading.done():
            if any(task.done() for task in watched):
                raise TrainError(f"a rank of the trainer ended: {_tail(ranks.log)}")
            raise TimeoutError
        answer = reading.result()
    finally:
        for task in (reading, *watched):
            task.cancel()
    if isinstance(answer, Failed):
        raise TrainError(answer.message)
    if answer is None:
        raise TrainError(f"a rank of the trainer ended: {_tail(ranks.log)}")
    return answer


async def _message(stream: asyncio.StreamReader) -> object | None:
    try:
        head = await stream.readexactly(8)
        return pickle.loads(await stream.readexactly(int.from_bytes(head, "big")))
    except asyncio.IncompleteReadError:
        return None


def _tail(log: Path) -> str:
    """The last lines of the ranks' log, as one line."""
    text = log.read_text("utf-8", "replace")[-MAX_LOG_CHARS:]
    return " ".join(text.split()) or "it left no log"


async def stop(ranks: _Ranks) -> None:
    """Waits for all ranks to end; kills those that do not."""
    waiting = [asyncio.create_task(process.wait()) for process in ranks.processes]
    _, running = await asyncio.wait(waiting, timeout=STOP_TIMEOUT_S)
    if running:
        for process in ranks.processes:
            if process.returncode is None:
                process.kill()
        await asyncio.wait(waiting)


@asynccontextmanager
async def open_nemo_aligner(setup: Setup, folder: Path) -> AsyncGenerator[NemoAlignerTrainer]:
    """Starts the ranks; they are ended with the block. Their log is `folder/trainer.log`.

    Raises `ConfigError` for a model that they can't train, and `TrainError` with the reason if they
    can't start.
    """
    check_model(read_config(setup.model), setup.config)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "setup.json"
        path.write_text(setup.model_dump_json(), "utf-8")
        ranks = await _start(setup.config, path, folder / "trainer.log")
        trainer = NemoAlignerTrainer(setup, ranks)
        try:
            await receive(ranks, setup.config.start_timeout_s)
            yield trainer
        except TimeoutError:
            limit = setup.config.start_timeout_s
            raise TrainError(f"the trainer's ranks did not start within {limit:g} s") from None
        finally:
            await trainer.close()


async def _start(config: NemoAlignerConfig, setup: Path, log: Path) -> _Ranks:
    size = config.tensor_parallel * config.data_parallel
    command = (str(config.python or sys.executable), "-W", "ignore", "-m", MODULE, str(setup))
    shared = {
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "TQDM_DISABLE": "1",
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    processes: list[asyncio.subprocess.Process] = []
    with log.open("ab") as file:
        for rank in range(size):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            pipe = asyncio.subprocess.PIPE if rank == 0 else asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=file, env=os.environ | shared | own
            )
            processes.append(process)
    return _Ranks(processes, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
