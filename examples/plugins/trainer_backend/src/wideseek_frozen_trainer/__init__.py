"""A trainer that changes nothing: `trainer.kind=frozen`.

It shows all that a trainer needs. A run with it measures rollouts, rewards and batches without
the cost of updates.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from wideseek_core import Config
from wideseek_core.plugins import Plugin
from wideseek_rl import LossConfig, PolicyModel, TrainingSample, UpdateMetrics
from wideseek_rl.batch.samples import Floats
from wideseek_rl.models.open import save_any_model
from wideseek_rl.sync.source import ModuleSource, WeightSource


class FrozenConfig(Config):
    """Settings of the trainer."""

    kind: Literal["frozen"] = "frozen"


class FrozenTrainer:
    """Counts samples and tokens, and leaves the weights as they are."""

    def __init__(self, model: PolicyModel) -> None:
        self._model = model

    @property
    def weights(self) -> WeightSource:
        """What engines sample with."""
        return ModuleSource(self._model.module)

    @property
    def intact(self) -> bool:
        """Whether an update that failed has changed nothing: here none ever does."""
        return True

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Would train on the samples of one step."""
        tokens = sum(int((sample.weights != 0).sum()) for sample in samples)
        return UpdateMetrics(samples=len(samples), tokens_trained=tokens, changed=0.0)

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """The sampler's log-probabilities hold as long as nothing changes."""
        return [sample.logprobs for sample in samples]

    async def save(self, folder: Path) -> None:
        """Writes what `load` needs, and `model/`, which evaluations read."""
        save_any_model(self._model.module, folder / "model", self._model.tokenizer_file)

    async def load(self, folder: Path) -> None:
        """Restores what `save` wrote: nothing, since nothing changed."""


@asynccontextmanager
async def open_frozen(
    config: FrozenConfig, loss: LossConfig, model: PolicyModel
) -> AsyncGenerator[FrozenTrainer]:
    """The trainer, closed at the end of the block."""
    yield FrozenTrainer(model)


TRAINER = Plugin(config=FrozenConfig, open=open_frozen)
