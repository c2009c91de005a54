"""The interface of metric loggers, what they know of the run, and the report they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from wideseek_rl.algorithm.protocol import Reward
from wideseek_rl.batch.samples import TrainedTurn
from wideseek_rl.rollout.scored import ScoredEpisode


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRun:
    """The run that a logger writes about."""

    folder: Path
    settings: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """The configuration, as services show it beside the curves."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """The metrics of one step, or of an evaluation after it.

    Example: `StepReport(step=12, metrics={"reward/mean": 0.41})`
    """

    step: int
    """Steps done, this one included."""
    metrics: Mapping[str, float]
    """What was measured, by name; the mean of nothing is left out."""
    groups: Sequence[Sequence[ScoredEpisode]] = ()
    """The rollouts of each prompt; empty for an evaluation."""
    rewards: Sequence[Sequence[Reward | None]] = ()
    """The reward of each rollout; None if it was left out of training."""
    trained: Sequence[TrainedTurn] = ()
    """The turns that were trained on, with their advantages and weights."""


class MetricLogger(Protocol):
    """Writes the reports of one run. Its methods are awaited one after the other.

    A method that waits for a disk or a network does so in a thread, so that agents keep working.
    """

    async def start(self, step: int) -> None:
        """Begins after `step` steps: reports of later steps by an earlier process are void."""
        ...

    async def write(self, report: StepReport) -> None:
        """Takes one report; several may come for one step."""
        ...

    async def close(self) -> None:
        """Writes what is buffered, and ends."""
        ...
