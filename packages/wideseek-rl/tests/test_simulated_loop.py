"""The training loop takes as long, in simulated time, as the simulation of its schedule says."""

import asyncio
import random
import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import Task, TextGold
from wideseek_core.testing import in_simulated_time
from wideseek_rl import CheckpointConfig, RLConfig, TrainingLoop, TrainingSample, UpdateMetrics
from wideseek_rl.batch.samples import Floats
from wideseek_rl.rollout.runner import Group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.simulation.config import LengthConfig
from wideseek_rl.simulation.engine import SimulatedEngine, Speeds
from wideseek_rl.simulation.lengths import DrawnLengths
from wideseek_rl.simulation.schedules import Setting, SimulatedRun, simulate_schedule
from wideseek_rl.sync.protocol import Commit
from wideseek_rl.testing import make_agent, make_scored, make_turn

STEPS, PER_STEP, SIZE = 20, 3, 2
EDGE = STEPS // 10
UPDATE_S, SYNC_S = 4.0, 1.5
SPEEDS = Speeds(total=120.0, sequence=20.0)
LENGTHS = DrawnLengths(LengthConfig(median_tokens=100, tools_s=0.5, width=1.5))


@dataclass
class World:
    """Rollouts on a simulated engine, and a trainer that takes its time."""

    engine: SimulatedEngine
    sampler: PromptSampler
    slots: asyncio.Semaphore
    weights: Any = None
    version: int = 0
    ends: list[float] = field(default_factory=lambda: [0.0])
    """When each step had its new weights, after the beginning."""
    ages: list[list[int]] = field(default_factory=list[list[int]])
    """Updates between the beginning and the training of each step's groups."""

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        return list(await asyncio.gather(*map(self._group, tasks)))

    async def _group(self, task: Task) -> Group:
        began = self.version
        position = next(p for p in range(10_000) if self.sampler.task(p).id == task.id)
        lengths = LENGTHS.group(random.Random(f"0:{position}"), SIZE)
        await asyncio.gather(*(self._rollout(n.tokens, n.width, n.tools_s) for n in lengths))
        turn = make_turn([position + 1, began], [7, 8])
        return [make_scored(make_agent(turn), value=value) for value in (0.1, 0.9)]

    async def _rollout(self, tokens: float, width: float, tools_s: float) -> None:
        async with self.slots:
            await self.engine.serve(tokens / 2, width)
            await asyncio.sleep(tools_s)
            await self.engine.serve(tokens / 2, width)

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        began = {sample.group: int(sample.ids[1]) for sample in samples}
        self.ages.append([self.version - version for version in began.values()])
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
        world = World(SimulatedEngine(SPEEDS), sampler, asyncio.Semaphore(slots))
        worlds.append(world)
        loop = TrainingLoop(
            settings(schedule, steps), world, world, folder=tmp_path / "run", sync=world
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
