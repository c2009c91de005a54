"""A trainer whose weights live in rank processes that NeMo-Aligner runs in."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from wideseek_core.processes import Child
from wideseek_rl.batch.samples import Floats, TrainingSample
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.models.hf_format import read_config
from wideseek_rl.models.policy import PolicyModel
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig, check_model
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.remote.client import Processes
from wideseek_rl.trainers.remote.group import RankCommand, RankGroup, open_ranks
from wideseek_rl.trainers.remote.requests import (
    Done,
    Drift,
    Load,
    Logprobs,
    Metrics,
    Save,
    Update,
    Values,
    Weights,
)
from wideseek_rl.trainers.screening import screen

if TYPE_CHECKING:
    from wideseek_rl.models.open import TrainableModel

MODULE = "wideseek_rl.trainers.megatron.ranks"


class NemoAlignerTrainer:
    """Trains by NeMo-Aligner, a `Trainer`. Open one with `open_nemo_aligner`.

    After every update the module in this process has the new weights, so that engines take them
    from there.
    """

    def __init__(self, setup: Setup, group: RankGroup, module: "TrainableModel") -> None:
        self._setup, self._group, self._module = setup, group, module

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
            answer = (await self._group.ask(Update(live), Metrics)).values
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
        found = (await self._group.ask(Logprobs(list(samples)), Values)).values
        results = [np.zeros(len(sample), dtype=np.float32) for sample in samples]
        for sample, values, result in zip(samples, found, results, strict=True):
            result[sample.weights != 0] = values
        return results

    async def save(self, folder: Path) -> None:
        """Writes `model/` and `optimizer.safetensors`, which the torch trainer can load, too."""
        await self._group.ask(Save(folder.resolve()), Done)

    async def load(self, folder: Path) -> None:
        """Restores what this or the torch trainer wrote. Raises `TrainError`."""
        await self._group.ask(Load(folder.resolve()), Done)
        await self._mirror()

    async def drift(self) -> float:
        """How far apart the ranks' copies of the same parameters are: 0 if all is well."""
        return (await self._group.ask(Drift(), Metrics)).values["drift"]

    @property
    def processes(self) -> Sequence[Child]:
        """The ranks' processes, in their order."""
        return self._group.children

    async def rank_weights(self) -> AsyncIterator[tuple[str, NDArray[Any]]]:
        """The weights of the ranks by their Hugging Face names, in float32, one after another."""
        async for weight in self._group.weights(Weights()):
            yield weight.name, weight.values


@asynccontextmanager
async def open_nemo_aligner(
    config: NemoAlignerConfig,
    loss: LossConfig,
    model: PolicyModel,
    processes: Processes | None = None,
) -> AsyncGenerator[NemoAlignerTrainer]:
    """Starts the ranks; they are ended with the block.

    Raises `ConfigError` for a model that they can't train, and `TrainError` with the reason if they
    can't start.
    """
    check_model(read_config(model.folder), config, loss)
    setup = Setup(model=model.complete_folder.resolve(), config=config, loss=loss)
    command = RankCommand(
        module=MODULE,
        setup=setup.model_dump_json(),
        count=config.tensor_parallel * config.data_parallel,
        gpus=processes.gpus if processes else 0,
        python=config.python,
        start_timeout_s=config.start_timeout_s,
        request_timeout_s=config.update_timeout_s,
    )
    launcher = processes.launcher if processes else LocalLauncher(config.logs)
    async with open_ranks(command, launcher) as group:
        yield NemoAlignerTrainer(setup, group, model.module)
