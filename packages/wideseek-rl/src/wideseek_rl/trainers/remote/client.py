"""A trainer whose weights live in rank processes; the controller needs no torch for it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wideseek_core import ConfigError, PeerFailed, TrainError
from wideseek_rl.batch.samples import Floats, TrainingSample
from wideseek_rl.cluster.launcher import Launcher
from wideseek_rl.engines.control.protocol import Algorithm, Checksums, ServerControl
from wideseek_rl.models.policy import PolicyModel
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.fanout import Failures
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.remote.group import RankCommand, RankGroup, open_ranks
from wideseek_rl.trainers.remote.requests import (
    Compare,
    Connect,
    Describe,
    Described,
    Digest,
    Done,
    Load,
    Logprobs,
    Metrics,
    Reached,
    Route,
    Save,
    Send,
    Update,
    Values,
    Weights,
)

if TYPE_CHECKING:
    from torch import Tensor

    from wideseek_rl.sync.source import TensorInfo

MODULE = "wideseek_rl.trainers.remote.torch_ranks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Where the ranks of a trainer run."""

    launcher: Launcher
    count: int = 1
    gpus: int = 0
    """GPUs of each rank; 0 trains on the CPU."""
    python: str = ""
    """Interpreter of the ranks' environment; empty for the running one."""


class RemoteWeights:
    """The weights of the ranks; a `WeightSource`.

    Reading tensors blocks, and must be done in a thread beside the event loop.
    """

    def __init__(self, group: RankGroup, described: Described) -> None:
        self.group = group
        self._described = described
        self._loop = asyncio.get_running_loop()

    def metadata(self) -> "Sequence[TensorInfo]":
        """See `WeightSource`."""
        from wideseek_rl.sync.source import TensorInfo

        return [
            TensorInfo(name=name, dtype="float32", shape=shape)
            for name, _, shape in self._described.tensors
        ]

    def tensors(self) -> "Iterator[tuple[str, Tensor]]":
        """Copies in float32, one after another."""
        import torch

        answers = self.group.weights(Weights())
        while True:
            coming = asyncio.run_coroutine_threadsafe(anext(answers, None), self._loop)
            weight = coming.result()
            if weight is None:
                return
            yield weight.name, torch.as_tensor(weight.values)


class RemoteTransport:
    """Has the ranks themselves send their weights to servers; a `Transport` and a `Comparer`."""

    def __init__(self, group: RankGroup, route: Route) -> None:
        sync = with_meeting_place(route.sync, group.slots[0].host)
        self._group, self._route = group, replace(route, sync=sync)
        self.separate = route.sync.transfer == "ipc"

    async def connect(self, servers: Sequence[ServerControl]) -> Failures:
        """See `Transport`."""
        urls = tuple(server.client.url for server in servers)
        return _failures(await self._group.ask(Connect(urls, self._route), Reached))

    async def send(self, servers: Sequence[ServerControl], version: int) -> Failures:
        """See `Transport`."""
        urls = tuple(server.client.url for server in servers)
        return _failures(await self._group.ask(Send(urls, version), Reached))

    async def prepare(self, algorithm: Algorithm) -> None:
        """Has the ranks compute checksums of what they sent; see `Comparer`."""
        await self._group.ask(Digest(algorithm), Done)

    async def compare(self, reported: dict[str, Checksums]) -> Failures:
        """Which servers have other tensors than what was sent, and which tensors."""
        return _failures(await self._group.ask(Compare(reported), Reached))

    async def close(self) -> None:
        """The ranks end with the trainer."""


def with_meeting_place(sync: SyncConfig, host: str) -> SyncConfig:
    """The settings for ranks of which the first, whom servers are to meet, is on a host.

    Servers on other hosts would take the default for an address of their own.
    """
    if host.startswith("127.") or not sync.master_address.startswith("127."):
        return sync
    return sync.model_copy(update={"master_address": host})


def _failures(reached: Reached) -> Failures:
    return {
        url: PeerFailed(problem) if url in reached.peers else TrainError(problem)
        for url, problem in reached.failures.items()
    }


class RemoteTrainer:
    """Trains in rank processes; a `Trainer`. Open one with `open_torch_ranks`."""

    def __init__(self, group: RankGroup, described: Described) -> None:
        self.group = group
        self._weights = RemoteWeights(group, described)
        self._unreturned = False
        """Whether the ranks made an update that `update` has not returned."""

    @property
    def weights(self) -> RemoteWeights:
        """See `Trainer`."""
        return self._weights

    @property
    def intact(self) -> bool:
        """See `Trainer`. Ranks of which one has failed alone end, and their weights with them."""
        return self.group.usable and not self._unreturned

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """See `Trainer`. Raises `RanksLost` if a rank has ended."""
        found = await self._made(samples)
        self._unreturned = False
        return found

    async def _made(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """What the ranks answered to an update; it is left to the caller to return it."""
        answer = await self.group.ask(Update(list(samples)), Metrics)
        self._unreturned = True
        return answer.update()

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """See `Trainer`."""
        return (await self.group.ask(Logprobs(list(samples)), Values)).values

    async def save(self, folder: Path) -> None:
        """See `Trainer`."""
        await self.group.ask(Save(folder.resolve()), Done)

    async def load(self, folder: Path) -> None:
        """See `Trainer`."""
        await self.group.ask(Load(folder.resolve()), Done)
        self._unreturned = False


def check_dtype(dtype: str, ranks: int) -> None:
    """Raises `ConfigError` for weights that several ranks can't share."""
    if ranks > 1 and dtype != "float32":
        raise ConfigError(
            f"policy.dtype={dtype}: several ranks hold the weights in float32; set "
            "policy.dtype=float32, and trainer.autocast for the arithmetic"
        )


@asynccontextmanager
async def open_torch_ranks(
    config: TorchTrainerConfig, loss: LossConfig, model: PolicyModel, processes: Processes
) -> AsyncGenerator[RemoteTrainer]:
    """Starts the ranks of the torch trainer, which end with the block.

    Raises `ConfigError` for settings that several ranks can't share, `TrainError` with the reason
    if they don't start.
    """
    check_dtype(model.config.dtype, processes.count)
    # Adapters are put in the model as it was before them; those that are not trained are merged.
    folder = model.complete_folder if config.lora is None else model.folder
    adapter = None if config.lora is None or model.adapter is None else model.adapter.resolve()
    setup = {
        "model": str(folder.resolve()),
        "adapter": None if adapter is None else str(adapter),
        "dtype": model.config.dtype,
        "device": "cuda" if processes.gpus else "cpu",
        "config": config.model_dump(mode="json"),
        "loss": loss.model_dump(mode="json"),
    }
    command = RankCommand(
        module=MODULE,
        setup=json.dumps(setup),
        count=processes.count,
        gpus=processes.gpus,
        python=Path(processes.python) if processes.python else None,
    )
    async with open_ranks(command, processes.launcher) as group:
        described = await group.ask(Describe(), Described)
        yield RemoteTrainer(group, described)
