"""A trainer of this process behind the async protocol: its work is done in a thread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from wideseek_rl.batch.samples import Floats, TrainingSample
from wideseek_rl.sync.source import WeightSource
from wideseek_rl.threads import in_thread
from wideseek_rl.trainers.protocol import UpdateMetrics


class BlockingTrainer(Protocol):
    """The methods of a `Trainer` as plain functions."""

    @property
    def weights(self) -> WeightSource:
        """The weights as they are after the last update."""
        ...

    @property
    def intact(self) -> bool:
        """Whether a failed update has changed nothing."""
        ...

    def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Trains on the samples of one step."""
        ...

    def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """For each sample, the log-prob of each token that trains."""
        ...

    def save(self, folder: Path) -> None:
        """Writes model, tokenizer and optimizer into an existing folder."""
        ...

    def load(self, folder: Path) -> None:
        """Restores what `save` wrote."""
        ...


class InThread:
    """A `Trainer` that calls a `BlockingTrainer` in a thread.

    Whoever is cancelled while a method runs waits for its end: weights are never half updated.
    """

    def __init__(self, trainer: BlockingTrainer) -> None:
        self._trainer = trainer

    @property
    def weights(self) -> WeightSource:
        """See `Trainer`."""
        return self._trainer.weights

    @property
    def intact(self) -> bool:
        """See `Trainer`."""
        return self._trainer.intact

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """See `Trainer`."""
        return await in_thread(lambda: self._trainer.update(samples))

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """See `Trainer`."""
        return await in_thread(lambda: self._trainer.logprobs(samples))

    async def save(self, folder: Path) -> None:
        """See `Trainer`."""
        await in_thread(lambda: self._trainer.save(folder))

    async def load(self, folder: Path) -> None:
        """See `Trainer`."""
        await in_thread(lambda: self._trainer.load(folder))
