"""The schedules themselves, on simulated rollouts, updates and weights.

Nothing of a schedule is modelled: `rollout/` runs as it is, in simulated time. What is modelled is
the engine, whose sequences share its throughput, and the trainer, which takes its time.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core import Config, Episode, Score, ScoreState, TableMetrics, Task, TextGold
from wideseek_core.simulated_time import simulate
from wideseek_rl.rollout.progress import PromptProgress
from wideseek_rl.rollout.runner import Group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule import Schedule, ScheduleInputs, open_schedule
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.simulation.engine import Meter, SimulatedEngine, Speeds
from wideseek_rl.simulation.lengths import Lengths, RolloutLength


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is simulated, whatever the schedule."""

    lengths: Lengths
    speeds: Speeds
    slots: int
    prompts_per_step: int
    group_size: int
    update_s: float
    sync_s: float
    overlap: float
    steps: int
    seed: int
    skip: int = 0
    """Steps before the others that are left out of all means, for schedules to be compared over the
    same prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """How the steps of one schedule went; means leave out the beginning and the end."""

    step_s: float
    rollouts_s: float
    """Time that a step waits for rollouts."""
    prompts_per_hour: float
    tokens_per_s: float
    engine_idle: float
    """Share of the time in which nothing is generated."""
    engine_load: float
    """Tokens generated over what a full engine would have."""
    trainer_idle: float
    """Share of the time without an update."""
    staleness: dict[int, float]
    """Share of the groups by the updates between their beginning and their training."""
    wasted: float
    """Share of the generated tokens that are of groups which were given up."""


@dataclass(slots=True)
class _Moment:
    """Totals at the end of a step."""

    at: float
    waited: float
    busy: float
    updating: float
    tokens: float
    groups: int
    wasted: float


class _World:
    """A `RolloutSource` in simulated time, which remembers when groups began."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.engine = SimulatedEngine(setting.speeds)
        self.version = 0
        self.began: dict[int, int] = {}
        self.wasted = 0.0
        """Tokens of groups that were given up, once others of their prompts are trained on."""
        self._meters: dict[int, Meter] = {}
        self._slots = asyncio.Semaphore(setting.slots)

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        """The rollouts of some prompts; a prompt is known by its position, the task's id."""
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._group(int(task.id))) for task in tasks]
        return [task.result() for task in running]

    async def _group(self, position: int) -> Group:
        setting = self.setting
        self.began[position] = self.version
        rng = random.Random(f"{setting.seed}:{position}")
        rollouts = setting.lengths.group(rng, setting.group_size)
        meter = self._meters.setdefault(position, Meter())
        meter.wanted = sum(rollout.tokens * rollout.width for rollout in rollouts)
        async with asyncio.TaskGroup() as group:
            for rollout in rollouts:
                group.create_task(self._rollout(rollout, meter))
        episode = Episode(task_id=str(position), trial=0, trajectories=())
        score = Score(state=ScoreState.UNSCORED, metrics=TableMetrics())
        return [ScoredEpisode(episode=episode, score=score)]

    def trained(self, positions: Sequence[int]) -> None:
        """Counts what was generated for these prompts beyond what they are trained on."""
        meters = [self._meters.pop(position) for position in positions]
        self.wasted += sum(meter.tokens - meter.wanted for meter in meters)

    async def _rollout(self, rollout: RolloutLength, meter: Meter) -> None:
        async with self._slots:
            await self.engine.serve(rollout.tokens / 2, rollout.width, meter)
            await asyncio.sleep(rollout.tools_s)
            await self.engine.serve(rollout.tokens / 2, rollout.width, meter)


def simulate_schedule(config: Config, setting: Setting) -> SimulatedRun:
    """Runs a schedule for the steps of a setting."""
    return simulate(_run(config, setting))


async def _run(config: Config, setting: Setting) -> SimulatedRun:
    world = _World(setting)
    window = _window(config, setting)
    schedule = _open(config, setting, world, window.end + window.edge)
    moments = [_Moment(0, 0, 0, 0, 0, 0, 0)]
    ages: list[list[int]] = []
    try:
        for step in range(window.end + window.edge):
            moment, found = await _step(schedule, world, moments[-1], step)
            moments.append(moment)
            ages.append(found)
    finally:
        await schedule.close()
    return _summary(setting, moments, ages, window)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The steps that means are over; `edge` more follow."""

    start: int
    end: int
    edge: int


def _window(config: Config, setting: Setting) -> _Window:
    """All but the first and the last tenth.

    With staleness m, groups of m + 1 steps are begun together at first, and such steps may follow
    one another closely ever after. So the first m are left out, and whole rounds of m + 1 counted.
    """
    together = staleness_of(config) + 1
    edge = max(setting.steps // 10, 1)
    start = edge + max(setting.skip, together - 1)
    rounds = max((setting.steps - 2 * edge) // together, 1)
    return _Window(start=start, end=start + rounds * together, edge=edge)


def staleness_of(config: Config) -> int:
    """How many steps before its training a group may begin."""
    return getattr(config, "max_staleness", 0)


async def _step(
    schedule: Schedule, world: _World, before: _Moment, step: int
) -> tuple[_Moment, list[int]]:
    """One step as the training loop makes it, and the age of its groups."""
    loop, engine = asyncio.get_running_loop(), world.engine
    started = loop.time()
    groups = await schedule.collect(step)
    positions = [int(group[0].episode.task_id) for group in groups]
    collected = loop.time()
    await _update(world)
    updated = loop.time()
    engine.slow_down(0.0)
    await asyncio.sleep(world.setting.sync_s)
    engine.slow_down(1.0)
    ages = [world.version - world.began[position] for position in positions]
    world.version += 1
    world.trained(positions)
    schedule.trained(published=True)
    moment = _Moment(
        at=loop.time(),
        waited=before.waited + collected - started,
        busy=engine.busy_s,
        updating=before.updating + updated - collected,
        tokens=engine.tokens,
        groups=before.groups + len(groups),
        wasted=world.wasted,
    )
    return moment, ages


async def _update(world: _World) -> None:
    """An update; where devices are shared, it and the engine slow each other down."""
    engine, loop = world.engine, asyncio.get_running_loop()
    left = world.setting.update_s
    while left > 0:
        factor = world.setting.overlap if engine.active else 1.0
        engine.slow_down(factor)
        started = loop.time()
        try:
            async with asyncio.timeout(left / factor):
                await engine.turned()
        except TimeoutError:
            break
        left -= (loop.time() - started) * factor
    engine.slow_down(1.0)


def _open(config: Config, setting: Setting, world: _World, steps: int) -> Schedule:
    gold = TextGold(answers=("",))
    prompts = 4 * steps * setting.prompts_per_step
    tasks = [Task(id=str(position), question="", gold=gold) for position in range(prompts)]
    inputs = ScheduleInputs(
        rollouts=world,
        sampler=_InOrder(tasks, per_step=setting.prompts_per_step, seed=0),
        # More than are simulated, so that no schedule runs out of prompts at the end.
        steps=4 * steps,
        progress=PromptProgress(),
        checkpoint=None,
    )
    return open_schedule(config, inputs)


class _InOrder(PromptSampler):
    """Prompts in their order, so that a task's id is its position."""

    def task(self, position: int) -> Task:
        """The task at a position."""
        return Task(id=str(position), question="", gold=TextGold(answers=("",)))


def _summary(
    setting: Setting, moments: Sequence[_Moment], ages: Sequence[list[int]], window: _Window
) -> SimulatedRun:
    first, last = moments[window.start], moments[window.end]
    seconds, steps = last.at - first.at, window.end - window.start
    tokens = last.tokens - first.tokens
    counts = Counter(age for found in ages[window.start : window.end] for age in found)
    waited, wasted = last.waited - first.waited, last.wasted - first.wasted
    return SimulatedRun(
        step_s=seconds / steps,
        rollouts_s=waited / steps,
        prompts_per_hour=3600 * (last.groups - first.groups) / seconds,
        tokens_per_s=tokens / seconds,
        engine_idle=1 - (last.busy - first.busy) / seconds,
        engine_load=tokens / seconds / setting.speeds.total,
        trainer_idle=1 - (last.updating - first.updating) / seconds,
        staleness={age: counts[age] / counts.total() for age in sorted(counts)},
        wasted=max(wasted / tokens, 0.0),
    )
