"""The training loop takes as long, in simulated time, as the simulation of its schedule says."""

import asyncio
import random
import statistics
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import Episode, Score, ScoreState, Task, TextGold, TextMetrics
from wideseek_core.testing import in_simulated_time
from wideseek_rl import (
    CheckpointConfig,
    RLConfig,
    Rollouts,
    TrainingLoop,
    TrainingSample,
    UpdateMetrics,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.rollout.runner import Group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.simulation.config import LengthConfig
from wideseek_rl.simulation.engine import SimulatedEngine, Speeds
from wideseek_rl.simulation.lengths import DrawnLengths
from wideseek_rl.simulation.schedules import Setting, SimulatedRun, simulate_schedule
from wideseek_rl.sync.protocol import Commit
from wideseek_rl.testing import make_agent, make_turn

STEPS, PER_STEP, SIZE = 20, 3, 2
EDGE = STEPS // 10
UPDATE_S, SYNC_S = 4.0, 1.5
SPEEDS = Speeds(total=120.0, sequence=20.0)
LENGTHS = DrawnLengths(LengthConfig(median_tokens=100, tools_s=0.5, width=1.5))


class TrialJudge:
    """Gives the rollouts of a prompt different scores."""

    async def score(self, task: Task, answer: str) -> Score:
        metrics = TextMetrics(correct=float(answer))
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


@dataclass
class World:
    """Rollouts on a simulated engine, and a trainer that takes its time."""

    engine: SimulatedEngine
    positions: Mapping[str, int]
    """Where each task is in the sequence of prompts."""
    weights: Any = None
    intact = True
    version: int = 0
    ends: list[float] = field(default_factory=lambda: [0.0])
    """When each step had its new weights, after the beginning."""
    ages: list[list[int]] = field(default_factory=list[list[int]])
    """Updates between the beginning and the training of each step's groups."""
    began: dict[int, int] = field(default_factory=dict[int, int])
    """The version when each group was asked for."""

    async def run_episode(self, task: Task, trial: int, seed: int) -> Episode:
        position = self.positions[task.id]
        length = LENGTHS.group(random.Random(f"0:{position}"), SIZE)[trial]
        await self.engine.serve(length.tokens / 2, length.width)
        await asyncio.sleep(length.tools_s)
        await self.engine.serve(length.tokens / 2, length.width)
        agents = (make_agent(make_turn([position + 1], [seed % 1000 + 1, trial + 1])),)
        return Episode(task_id=task.id, trial=trial, trajectories=agents, answer=str(trial))

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        found = {int(sample.ids[0]) - 1 for sample in samples}
        self.ages.append([self.version - self.began[position] for position in found])
        await asyncio.sleep(UPDATE_S)
        return UpdateMetrics(updates=1, samples=len(samples))

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        yield lambda _version: None
        self.engine.slow_down(0.0)
        await asyncio.sleep(SYNC_S)
        self.engine.slow_down(1.0)
        self.version += 1
        self.ends.append(asyncio.get_running_loop().time())

    async def save(self, folder: Path) -> None:
        (folder / "weights").write_text("")

    async def load(self, folder: Path) -> None:
        raise AssertionError("not asked for")

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")


class Watched(Rollouts):
    """Rollouts that remember with which weights their groups began."""

    def __init__(self, world: World, slots: int) -> None:
        super().__init__(world.run_episode, TrialJudge(), group_size=SIZE, max_concurrent=slots)
        self._world = world

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        for task in tasks:
            self._world.began[self._world.positions[task.id]] = self._world.version
        return await super().collect(tasks, step)


def simulated(schedule: Any, slots: int) -> SimulatedRun:
    setting = Setting(
        lengths=LENGTHS,
        speeds=SPEEDS,
        slots=slots,
        prompts_per_step=PER_STEP,
        group_size=SIZE,
        update_s=UPDATE_S,
        sync_s=SYNC_S,
        overlap=1.0,
        steps=STEPS,
        seed=0,
    )
    return simulate_schedule(schedule, setting)


def settings(schedule: dict[str, Any], steps: int) -> RLConfig:
    return RLConfig.model_validate(
        {
            "prompts_per_step": PER_STEP,
            "group_size": SIZE,
            "steps": steps,
            "schedule": schedule,
            "checkpoint": CheckpointConfig(every_steps=10_000),
            "loggers": (),
            "log_episodes": False,
        }
    )


@pytest.mark.parametrize("slots", [4, 100])
@pytest.mark.parametrize(
    ("schedule", "staleness"),
    [
        ({"kind": "sync"}, 0),
        ({"kind": "tail", "extra": 0.7}, 0),
        ({"kind": "async", "max_staleness": 1}, 1),
        ({"kind": "async", "max_staleness": 3}, 3),
    ],
)
def test_the_loop_takes_as_long_as_its_simulation(
    tmp_path: Path, schedule: dict[str, Any], staleness: int, slots: int
) -> None:
    worlds: list[World] = []
    steps = 4 * (STEPS + 2 * EDGE + staleness)

    @in_simulated_time
    async def run() -> None:
        gold = TextGold(answers=("x",))
        tasks = [Task(id=str(n), question="?", gold=gold) for n in range(steps * PER_STEP)]
        sampler = PromptSampler(tasks, per_step=PER_STEP, seed=0)
        positions = {sampler.task(position).id: position for position in range(len(tasks))}
        world = World(SimulatedEngine(SPEEDS), positions)
        worlds.append(world)
        rollouts = Watched(world, slots)
        loop = TrainingLoop(
            settings(schedule, steps), world, rollouts, folder=tmp_path / "run", sync=world
        )
        await loop.fit(tasks)

    run()
    (world,) = worlds
    found = simulated(settings(schedule, steps).schedule, slots)
    start = EDGE + staleness
    count = (STEPS - 2 * EDGE) // (staleness + 1) * (staleness + 1)
    mean = (world.ends[start + count] - world.ends[start]) / count
    assert mean == pytest.approx(found.step_s)
    ages = [age for step in world.ages[start : start + count] for age in step]
    shares = {age: ages.count(age) / len(ages) for age in sorted(set(ages))}
    assert found.staleness == pytest.approx(shares)
    assert statistics.fmean(ages) <= staleness
