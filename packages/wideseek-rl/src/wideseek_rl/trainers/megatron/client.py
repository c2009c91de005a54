"""A trainer whose weights live in rank processes that NeMo-Aligner runs in."""

import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np

from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.models.hf_format import read_config
from wideseek_rl.models.policy import PolicyModel
from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig, check_model
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.protocol import NO_UPDATE, UpdateMetrics
from wideseek_rl.trainers.remote.client import Processes, RemoteTrainer
from wideseek_rl.trainers.remote.group import RankCommand, RankGroup, open_ranks
from wideseek_rl.trainers.remote.requests import Describe, Described, Drift, Metrics
from wideseek_rl.trainers.screening import screen

logger = logging.getLogger(__name__)

MODULE = "wideseek_rl.trainers.megatron.ranks"
VARIABLES = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
"""megatron-core starts collectives before the products that they overlap with, and counts on the
GPU to keep that order."""


class NemoAlignerTrainer(RemoteTrainer):
    """Trains by NeMo-Aligner, a `Trainer`. Open one with `open_nemo_aligner`."""

    def __init__(
        self, group: RankGroup, described: Described, loss: LossConfig, vocabulary: int
    ) -> None:
        super().__init__(group, described)
        self._loss, self._vocabulary = loss, vocabulary

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Trains on the samples of one step. Raises `TrainError` if a rank has failed."""
        started = time.monotonic()
        screened = screen(samples, self._vocabulary)
        live = [sample for sample in screened.samples if self._has_gradient(sample)]
        found = NO_UPDATE
        if live:
            found = await self._made(live)
            if drift := await self.drift():
                logger.warning("the ranks' copies of the weights differ by %.3g", drift)
            found = replace(found, drift=drift)
        self._unreturned = False
        return replace(
            found,
            zero_advantage_samples=len(screened.samples) - len(live),
            masked_tokens=screened.tokens + (found.masked_tokens or 0),
            masked_samples=screened.dropped + (found.masked_samples or 0),
            seconds=time.monotonic() - started,
        )

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._loss.needs_all_tokens:
            return sample.trained > 0
        return bool(np.any((sample.weights != 0) & (sample.advantages != 0)))

    async def drift(self) -> float | None:
        """How far apart the ranks' copies of the same parameters are: 0 if all is well.

        None for one rank, which has none.
        """
        return (await self.group.ask(Drift(), Metrics)).values.get("drift")


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
    shape = read_config(model.folder)
    check_model(shape, config, loss)
    setup = Setup(model=model.complete_folder.resolve(), config=config, loss=loss)
    command = RankCommand(
        module=MODULE,
        setup=setup.model_dump_json(),
        count=config.ranks,
        gpus=processes.gpus if processes else 0,
        python=config.python,
        variables=VARIABLES,
        start_timeout_s=config.start_timeout_s,
        request_timeout_s=config.update_timeout_s,
    )
    launcher = processes.launcher if processes else LocalLauncher(config.logs)
    async with open_ranks(command, launcher) as group:
        described = await group.ask(Describe(), Described)
        yield NemoAlignerTrainer(group, described, loss, shape.vocab_size)
