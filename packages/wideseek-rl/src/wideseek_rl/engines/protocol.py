"""The interface of rollout engines: they sample token ids, and take new weights."""

from typing import Protocol

from wideseek_core import TokenEngine
from wideseek_rl.sync.protocol import WeightSync
from wideseek_rl.trainers.protocol import Trainer


class RolloutEngine(TokenEngine, Protocol):
    """A `TokenEngine` whose weights can be replaced during a run."""

    def sync(self, trainer: Trainer) -> WeightSync:
        """Connects the engine to the trainer whose weights it is to sample with."""
        ...
