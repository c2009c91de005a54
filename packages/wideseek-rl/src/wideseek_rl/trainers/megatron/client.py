"""A trainer whose weights live in rank processes that NeMo-Aligner runs in."""

import asyncio
import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wideseek_core import TrainError
from wideseek_core.config import child_environment
from wideseek_core.frames import HEAD, PICKLE, Kind, frame, read_head
from wideseek_rl.batch.samples import Floats, TrainingSample
from wideseek_rl.models.hf_format import read_config
from wideseek_rl.models.policy import PolicyModel
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.trainers.config import LossConfig
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
from wideseek_rl.trainers.screening import screen

if TYPE_CHECKING:
    from wideseek_rl.models.open import TrainableModel

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
    """Trains by NeMo-Aligner, a `Trainer`. Open one with `open_nemo_aligner`.

    After every update the module in this process has the new weights, so that engines take them
    from there.
    """

    def __init__(self, setup: Setup, ranks: _Ranks, module: "TrainableModel") -> None:
        self._setup, self._ranks, self._module = setup, ranks, module
        self._lock = asyncio.Lock()

    @property
    def weights(self) -> ModuleSource:
        """The weights as they are after the last update."""
        return ModuleSource(self._module)

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Trains on the samples of one step. Raises `TrainError` if a rank has failed."""
        started = time.monotonic()
        screened = screen(samples, self._module.config.vocab_size)
        live = [sample for sample in screened.samples if self._has_gradient(sample)]
        metrics = UpdateMetrics(
            zero_advantage_samples=len(screened.samples) - len(live),
            masked_tokens=screened.tokens,
            masked_samples=screened.dropped,
        )
        if live:
            answer = (await self._ask(Update(live), Metrics)).values
            masked = screened.tokens + int(answer.pop("masked_tokens"))
            metrics = replace(
                metrics,
                samples=len(live),
                tokens_run=sum(map(len, live)),
                masked_tokens=masked,
                **answer,  # pyright: ignore[reportArgumentType]
            )
            await self._mirror()
        return replace(metrics, seconds=time.monotonic() - started)

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._setup.loss.needs_all_tokens:
            return sample.trained > 0
        return bool(np.any((sample.weights != 0) & (sample.advantages != 0)))

    async def _mirror(self) -> None:
        """Brings the weights of the ranks to the module of this process."""
        own = dict(self._module.named_parameters())
        async for name, values in self.rank_weights():
            own[name].data.copy_(torch.as_tensor(values))

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """For each sample, the log-prob of each of its tokens; 0 where the token does not train."""
        found = (await self._ask(Logprobs(list(samples)), Values)).values
        results = [np.zeros(len(sample), dtype=np.float32) for sample in samples]
        for sample, values, result in zip(samples, found, results, strict=True):
            result[sample.weights != 0] = values
        return results

    async def save(self, folder: Path) -> None:
        """Writes `model/` and `optimizer.safetensors`, which the torch trainer can load, too."""
        await self._ask(Save(folder.resolve()), Done)

    async def load(self, folder: Path) -> None:
        """Restores what this or the torch trainer wrote. Raises `TrainError`."""
        await self._ask(Load(folder.resolve()), Done)
        await self._mirror()

    async def drift(self) -> float:
        """How far apart the ranks' copies of the same parameters are: 0 if all is well."""
        return (await self._ask(Drift(), Metrics)).values["drift"]

    @property
    def processes(self) -> Sequence[asyncio.subprocess.Process]:
        """The ranks' processes, in their order."""
        return self._ranks.processes

    async def rank_weights(self) -> AsyncIterator[tuple[str, NDArray[Any]]]:
        """The weights of the ranks by their Hugging Face names, in float32, one after another."""
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
        stream = self._ranks.first.stdin
        assert stream is not None
        stream.write(frame(Kind.ASK, 0, PICKLE.dumps(request)))

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
        head = read_head(await stream.readexactly(HEAD.size))
        return PICKLE.loads(await stream.readexactly(head.size))
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
async def open_nemo_aligner(
    config: NemoAlignerConfig, loss: LossConfig, model: PolicyModel
) -> AsyncGenerator[NemoAlignerTrainer]:
    """Starts the ranks; they are ended with the block.

    Raises `ConfigError` for a model that they can't train, and `TrainError` with the reason if they
    can't start.
    """
    check_model(read_config(model.folder), config, loss)
    setup = Setup(model=model.complete_folder.resolve(), config=config, loss=loss)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "setup.json"
        path.write_text(setup.model_dump_json(), "utf-8")
        ranks = await _start(config, path, config.log or Path(work) / "ranks.log")
        trainer = NemoAlignerTrainer(setup, ranks, model.module)
        try:
            await receive(ranks, config.start_timeout_s)
            yield trainer
        except TimeoutError:
            limit = config.start_timeout_s
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
                *command, stdin=pipe, stdout=pipe, stderr=file, env=child_environment(shared | own)
            )
            processes.append(process)
    return _Ranks(processes, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
