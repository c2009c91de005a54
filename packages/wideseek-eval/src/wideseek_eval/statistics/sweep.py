"""How scores scale with one setting: width (subagents), depth (turns), or another."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, TypeVar

from wideseek_core import ConfigError
from wideseek_core.tasks import Record
from wideseek_eval.statistics.summary import Summary

V = TypeVar("V")

SWEEP_METRICS = ("item_f1", "row_f1", "success", "correct")
_EFFORT = ("subagents",)


class SweepPoint(Record):
    """The summary at one value."""

    value: str
    summary: Summary


class Sweep(Record):
    """A scaling curve."""

    version: Literal[1] = 1
    parameter: str
    """What was varied: `max_subagents`, `lead_turns`, ..."""
    points: tuple[SweepPoint, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics and efforts that the points have."""
        known = [point.summary.overall for point in self.points]
        return tuple(
            name
            for name in (*SWEEP_METRICS, *_EFFORT)
            if any(name in part.metrics or name in part.effort for part in known)
        )


async def run_sweep(
    parameter: str, values: Iterable[V], evaluate_at: Callable[[V], Awaitable[Summary]]
) -> Sweep:
    """Evaluates at each value in turn; `evaluate_at` runs (or resumes) one evaluation.

    Raises `ConfigError` if there is nothing to vary.
    """
    points = [SweepPoint(value=str(value), summary=await evaluate_at(value)) for value in values]
    if not points:
        raise ConfigError(f"sweep.{parameter}: give at least one value")
    return Sweep(parameter=parameter, points=tuple(points))
