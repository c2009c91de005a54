import ast
import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wideseek_core import (
    Episode,
    RanksLost,
    Score,
    ScoreState,
    Task,
    TextGold,
    TextMetrics,
    TrainError,
    Usage,
    VersionSpan,
)
from wideseek_core.rollouts import broken_episode
from wideseek_core.simulated_time import simulate
from wideseek_core.testing import in_simulated_time
from wideseek_core.usage import report_usage
from wideseek_rl import (
    CheckpointConfig,
    GroupRelativeConfig,
    LoggedRun,
    RLConfig,
    Rollouts,
    ScoredEpisode,
    TrainingLoop,
    TrainingSample,
    TrainSummary,
    UpdateMetrics,
    open_loggers,
    read_checkpoint,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.loop.restarts import with_restarts
from wideseek_rl.rollout.progress import PromptLedger, PromptProgress
from wideseek_rl.rollout.runner import Group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.sync.protocol import Commit, WeightSync
from wideseek_rl.testing import make_agent, make_scored, make_turn

PER_STEP = 3


class Killed(BaseException):
    """Ends a process at a random point."""


def at_once(prompt: int) -> float:
    return 0.0


@dataclass
class World:
    """Prompts whose rollouts take their time, and weights that remember what trained them."""

    seconds: Callable[[int], float] = at_once
    kill_in: int | None = None
    """Events until the process is killed."""
    version: int = 0
    trained: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    """The prompts of each update of the present weights."""
    staleness: list[int] = field(default_factory=list[int])
    """Of every group that was trained on."""
    began: Counter[int] = field(default_factory=Counter[int])
    """How often each prompt was sampled."""
    weights: Any = None
    intact = True

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        return [await self._group(int(task.id)) for task in tasks]

    async def _group(self, prompt: int) -> Group:
        self._event()
        self.began[prompt] += 1
        version = self.version
        await asyncio.sleep(self.seconds(prompt))
        self._event()
        return [rollout(prompt, version, value) for value in (0.1, 0.9)]

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        self._event()
        found = {sample.group: (int(sample.ids[0]) - 100, int(sample.ids[1])) for sample in samples}
        self.staleness += [self.version - version for _, version in found.values()]
        self.trained.append(tuple(prompt for prompt, _ in found.values()))
        self.version += 1
        await asyncio.sleep(0)
        self._event()
        return UpdateMetrics(updates=1, samples=len(samples))

    async def save(self, folder: Path) -> None:
        (folder / "trained").write_text(repr(self.trained))
        self._event()

    async def load(self, folder: Path) -> None:
        self.trained = ast.literal_eval((folder / "trained").read_text())
        self.version = len(self.trained)

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    def _event(self) -> None:
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in < 0:
                raise Killed


def rollout(prompt: int, version: int, value: float) -> ScoredEpisode:
    """A rollout whose ids say which prompt it is of, and which weights sampled it."""
    turn = make_turn([prompt + 100, version], [7, 8])
    turn = replace(turn, versions=(VersionSpan(version=version, start=0, end=2),))
    return make_scored(make_agent(turn), value=value)


def config(**changes: Any) -> RLConfig:
    values = {
        "prompts_per_step": PER_STEP,
        "group_size": 2,
        "steps": 8,
        "algorithm": GroupRelativeConfig(equal_groups="drop"),
        "checkpoint": CheckpointConfig(every_steps=2),
        "loggers": (),
        "log_episodes": False,
    }
    return RLConfig.model_validate(values | changes)


def tasks(count: int = 24) -> list[Task]:
    gold = TextGold(answers=("x",))
    return [Task(id=str(n), question="?", gold=gold) for n in range(count)]


async def run(folder: Path, world: World, config: RLConfig) -> TrainSummary:
    return await TrainingLoop(config, world, world, folder=folder).fit(tasks())


TAIL = {"kind": "tail", "extra": 1.0}
AHEAD = [TAIL, {"kind": "async", "max_staleness": 1}, {"kind": "async", "max_staleness": 3}]


def slow(*prompts: int) -> Callable[[int], float]:
    """These prompts take long, the others do not."""
    return lambda prompt: 0.05 if prompt in prompts else 0.001 * (prompt % 3)


def prompts_of(world: World) -> list[int]:
    return sorted(prompt for prompts in world.trained for prompt in prompts)


@pytest.mark.parametrize("schedule", AHEAD)
@in_simulated_time
async def test_every_prompt_of_an_epoch_trains_once(
    tmp_path: Path, schedule: dict[str, Any]
) -> None:
    world = World(slow(3, 7, 20))
    summary = await run(tmp_path, world, config(schedule=schedule))
    assert (summary.steps, summary.updates) == (8, 8)
    assert [len(prompts) for prompts in world.trained] == [PER_STEP] * 8
    assert prompts_of(world) == list(range(24))


@in_simulated_time
async def test_tail_batching_is_on_policy_and_gathers_slow_prompts_in_few_steps(
    tmp_path: Path,
) -> None:
    late = set(range(0, 24, 4))
    waits: dict[str, int] = {}
    for kind in ("sync", "tail"):
        world = World(slow(*late))
        await run(tmp_path / kind, world, config(schedule={"kind": kind}))
        waits[kind] = sum(bool(late & set(prompts)) for prompts in world.trained)
        assert set(world.staleness) == {0}
    assert waits["tail"] < waits["sync"]


@pytest.mark.parametrize("max_staleness", [1, 2, 3])
@in_simulated_time
async def test_staleness_is_bounded_whatever_takes_long(tmp_path: Path, max_staleness: int) -> None:
    world = World(slow(*range(0, 24, 5)))
    schedule = {"kind": "async", "max_staleness": max_staleness}
    await run(tmp_path, world, config(schedule=schedule))
    assert max(world.staleness) == max_staleness
    assert sum(world.began.values()) == 24


@in_simulated_time
async def test_asynchronous_rollouts_begin_before_the_weights_that_they_train(
    tmp_path: Path,
) -> None:
    world = World()
    await run(tmp_path, world, config(schedule={"kind": "async"}, steps=2))
    assert world.staleness == [0] * PER_STEP + [1] * PER_STEP
    assert sum(world.began.values()) == 2 * PER_STEP


@pytest.mark.parametrize("max_staleness", [1, 2, 4])
@pytest.mark.parametrize("lengths", [[8], [2, 3, 8]])
@in_simulated_time
async def test_an_asynchronous_step_has_the_prompts_of_a_synchronous_one(
    tmp_path: Path, max_staleness: int, lengths: list[int]
) -> None:
    settings = config(schedule={"kind": "async", "max_staleness": max_staleness})
    sampler = PromptSampler(tasks(), per_step=PER_STEP, seed=settings.seed)
    steps = [{int(task.id) for task in sampler.at(step)} for step in range(8)]
    for length in lengths:
        # What a step trains on does not depend on how long its rollouts take.
        world = World(slow(*steps[0], *steps[5], min(steps[2])))
        await run(tmp_path, world, settings.model_copy(update={"steps": length}))
        assert list(map(set, world.trained)) == steps[:length]
        assert max(world.staleness) <= max_staleness


@dataclass
class SlowLogger:
    """Takes its time to write a step, and counts the groups that have begun until then."""

    world: World
    began: list[int] = field(default_factory=list[int])

    async def start(self, step: int) -> None:
        return None

    async def write(self, report: StepReport) -> None:
        await asyncio.sleep(1.0)
        self.began.append(sum(self.world.began.values()))

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("max_staleness", [1, 2])
@in_simulated_time
async def test_groups_of_the_next_step_are_sampled_while_a_step_is_reported(
    tmp_path: Path, max_staleness: int
) -> None:
    world = World(slow(3, 7, 20))
    logger = SlowLogger(world)
    settings = config(schedule={"kind": "async", "max_staleness": max_staleness})
    loop = TrainingLoop(settings, world, world, folder=tmp_path, loggers=[logger])
    await loop.fit(tasks())
    steps = range(1, 9)
    assert logger.began == [min(PER_STEP * (step + max_staleness + 1), 24) for step in steps]
    assert max(world.staleness) == max_staleness


@dataclass
class Busy(World):
    """Counts the groups that are being sampled."""

    running: int = 0

    async def _group(self, prompt: int) -> Group:
        self.running += 1
        try:
            return await super()._group(prompt)
        finally:
            self.running -= 1


@in_simulated_time
async def test_nothing_is_sampled_ahead_while_a_run_that_is_over_is_measured(
    tmp_path: Path,
) -> None:
    world, running = Busy(lambda _: 5.0), list[int]()

    async def final(_step: int) -> dict[str, float]:
        await asyncio.sleep(1.0)
        running.append(world.running)
        return {}

    settings = config(schedule={"kind": "async", "max_staleness": 1}, max_seconds=1e-9)
    summary = await TrainingLoop(settings, world, world, folder=tmp_path, final=final).fit(tasks())
    assert summary.steps == 1
    assert running == [0]


@pytest.mark.parametrize("schedule", [{"kind": "sync"}, {"kind": "dynamic"}, *AHEAD])
@pytest.mark.parametrize("seed", range(4))
async def test_no_prompt_is_lost_or_trained_twice_although_the_run_is_killed(
    tmp_path: Path, schedule: dict[str, Any], seed: int
) -> None:
    rng, kills, world = random.Random(seed), 0, World()
    for attempt in range(21):
        world = World(lambda prompt: rng.choice((0.0, 0.001, 0.003)))
        world.kill_in = rng.randrange(3, 36) if attempt < 20 else None
        try:
            await run(tmp_path, world, config(schedule=schedule))
        except Killed:
            kills += 1
    assert kills >= 2
    assert prompts_of(world) == list(range(24))
    assert len(world.trained) == 8
    if schedule["kind"] in ("sync", "async"):
        sampler = PromptSampler(tasks(), per_step=PER_STEP, seed=0)
        steps = [{int(task.id) for task in sampler.at(step)} for step in range(8)]
        assert list(map(set, world.trained)) == steps


class Refused:
    """An engine that does not take the third weights: before they are trained, or after."""

    def __init__(self, when: str) -> None:
        self.when, self.updates = when, 0

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        self.updates += 1
        refused = self.updates == 3
        if refused and self.when == "before":
            raise ExceptionGroup("replicas", [TrainError("no memory was given back")])
        yield lambda _version: None
        if refused and self.when == "after":
            raise ExceptionGroup("replicas", [TrainError("all refused")])


@pytest.mark.parametrize("schedule", [{"kind": "sync"}, {"kind": "dynamic"}, *AHEAD])
@pytest.mark.parametrize("when", ["before", "after"])
@in_simulated_time
async def test_an_update_that_the_engine_refuses_is_saved_before_the_run_ends(
    tmp_path: Path, schedule: dict[str, Any], when: str
) -> None:
    evaluated: list[tuple[int, int]] = []

    def loop(world: World, sync: WeightSync) -> TrainingLoop:
        async def evaluate(step: int) -> dict[str, float]:
            evaluated.append((step, world.version))
            return {"item_f1": 0.5}

        settings = config(
            schedule=schedule,
            evaluate_every=1,
            checkpoint=CheckpointConfig(every_steps=100),
        )
        loggers = open_loggers(settings.loggers, LoggedRun(folder=tmp_path), episodes=False)
        return TrainingLoop(
            settings,
            world,
            world,
            folder=tmp_path,
            sync=sync,
            evaluate=evaluate,
            loggers=loggers,
        )

    first, second = World(slow(1, 4, 9)), World(slow(1, 4, 9))
    reason = "all refused" if when == "after" else "no memory was given back"
    with pytest.raises(TrainError, match=reason):
        await loop(first, Refused(when)).fit(tasks())
    done = 3 if when == "after" else 2
    folder = tmp_path / "checkpoints" / f"step_{done:06d}"
    state = read_checkpoint(folder)
    assert (state.step, state.updates, state.unevaluated) == (done, done, when == "after")
    assert len(ast.literal_eval((folder / "trained").read_text())) == done
    summary = await loop(second, Refused("never")).fit(tasks())
    assert (summary.steps, summary.updates) == (8, 8)
    assert prompts_of(second) == list(range(24))
    assert second.trained[:done] == first.trained
    assert evaluated == [(step, step) for step in range(1, 9)]
    reported = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in reported if "reward/mean" in line] == list(range(1, 9))


@in_simulated_time
async def test_nothing_is_begun_with_weights_that_are_out_of_date(tmp_path: Path) -> None:
    settings = config(schedule={"kind": "async", "max_staleness": 1})
    world = World(lambda _: 1.0)
    with pytest.raises(TrainError, match="all refused"):
        await TrainingLoop(settings, world, world, folder=tmp_path, sync=Refused("after")).fit(
            tasks()
        )
    assert sum(world.began.values()) == 4 * PER_STEP  # six at first, three after each good update


class OutOfMemory:
    """An engine that has no memory for the third weights, which torch says in its own way."""

    def __init__(self) -> None:
        self.updates = 0

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        self.updates += 1
        yield lambda _version: None
        if self.updates == 3:
            raise RuntimeError("out of memory")


@dataclass
class Unsaved(World):
    """The trainer has no memory either."""

    async def save(self, folder: Path) -> None:
        raise RuntimeError("no room for the optimizer")


async def test_an_update_is_saved_whatever_error_the_engine_has(tmp_path: Path) -> None:
    settings = config(checkpoint=CheckpointConfig(every_steps=100))
    world = World()
    loop = TrainingLoop(settings, world, world, folder=tmp_path, sync=OutOfMemory())
    with pytest.raises(RuntimeError, match="out of memory"):
        await loop.fit(tasks())
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000003").updates == 3


@dataclass
class Failing(World):
    """Its third update fails, before or after it has begun to change the weights."""

    error: Exception = field(default_factory=lambda: RuntimeError("CUDA out of memory"))
    changes: bool = False

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        if self.version == 2:
            self.intact = not self.changes
            if self.changes:
                self.trained.append(())
            raise self.error
        return await super().update(samples)


@pytest.mark.parametrize("schedule", [{"kind": "sync"}, {"kind": "dynamic"}, *AHEAD])
@pytest.mark.parametrize("changes", [False, True])
@in_simulated_time
async def test_an_update_that_fails_loses_no_step_before_it_if_it_has_changed_nothing(
    tmp_path: Path, schedule: dict[str, Any], changes: bool
) -> None:
    settings = config(schedule=schedule, checkpoint=CheckpointConfig(every_steps=100))

    def loop(world: World) -> TrainingLoop:
        loggers = open_loggers(settings.loggers, LoggedRun(folder=tmp_path), episodes=False)
        return TrainingLoop(settings, world, world, folder=tmp_path, loggers=loggers)

    first, second = Failing(slow(1, 4, 9), changes=changes), World(slow(1, 4, 9))
    with pytest.raises(RuntimeError, match="out of memory"):
        await loop(first).fit(tasks())
    saved = [path.name for path in (tmp_path / "checkpoints").glob("step_*")]
    assert saved == ([] if changes else ["step_000002"])
    summary = await loop(second).fit(tasks())
    assert (summary.steps, summary.updates) == (8, 8)
    assert prompts_of(second) == list(range(24))
    if not changes:
        assert second.trained[:2] == first.trained
    reported = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in reported] == list(range(1, 9))


async def test_ranks_that_are_intact_save_the_run_that_is_started_again(tmp_path: Path) -> None:
    settings = config(checkpoint=CheckpointConfig(every_steps=100))
    worlds = [Failing(error=RanksLost("an update failed: out of memory")), World()]

    async def attempt(repeated: bool) -> TrainSummary:
        world = worlds[repeated]
        return await TrainingLoop(settings, world, world, folder=tmp_path).fit(tasks())

    assert (await with_restarts(attempt, 1)).updates == 8
    assert worlds[1].trained[:2] == worlds[0].trained
    assert sum(worlds[1].began.values()) == 6 * PER_STEP


async def test_an_error_is_reported_although_the_step_can_not_be_saved(tmp_path: Path) -> None:
    settings = config(checkpoint=CheckpointConfig(every_steps=100))
    world = Unsaved()
    loop = TrainingLoop(settings, world, world, folder=tmp_path, sync=OutOfMemory())
    with pytest.raises(RuntimeError, match="out of memory"):
        await loop.fit(tasks())


class Full:
    """A disk without space, for one report."""

    full = True

    async def start(self, step: int) -> None: ...

    async def write(self, report: StepReport) -> None:
        if report.step == 3 and self.full:
            self.full = False
            raise OSError(28, "No space left on device")

    async def close(self) -> None: ...


async def test_an_error_of_the_engine_is_the_reason_although_a_report_fails(tmp_path: Path) -> None:
    settings = config(checkpoint=CheckpointConfig(every_steps=100))
    world = World()
    loop = TrainingLoop(
        settings, world, world, folder=tmp_path, sync=Refused("after"), loggers=[Full()]
    )
    with pytest.raises(TrainError, match="all refused"):
        await loop.fit(tasks())
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000003").updates == 3


async def test_a_step_whose_report_can_not_be_written_is_saved(tmp_path: Path) -> None:
    disk, world = Full(), World()
    settings = config(checkpoint=CheckpointConfig(every_steps=100))
    with pytest.raises(OSError, match="No space left"):
        await TrainingLoop(settings, world, world, folder=tmp_path, loggers=[disk]).fit(tasks())
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000003").updates == 3
    resumed = World()
    await TrainingLoop(settings, resumed, resumed, folder=tmp_path, loggers=[disk]).fit(tasks())
    assert prompts_of(resumed) == list(range(24))
    assert resumed.trained[:3] == world.trained


@dataclass
class Unlucky(World):
    """All rollouts of some prompts fail, some of them at once, others after a long time."""

    failing: frozenset[int] = frozenset()

    async def _group(self, prompt: int) -> Group:
        group = await super()._group(prompt)
        if prompt not in self.failing:
            return group
        broken = [broken_episode(tasks()[prompt], trial, "lost") for trial in range(2)]
        return [replace(g, episode=e) for g, e in zip(group, broken, strict=True)]


@dataclass
class Failures:
    """A metric logger that counts failed prompts, and forgets steps that are made again."""

    steps: dict[int, list[str]]

    async def start(self, step: int) -> None:
        for later in [number for number in self.steps if number > step]:
            del self.steps[later]

    async def write(self, report: StepReport) -> None:
        episodes = [group[0].episode for group in report.groups]
        self.steps[report.step] = [e.task_id for e in episodes if e.error]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("schedule", [{"kind": "sync"}, {"kind": "tail", "extra": 0.34}, *AHEAD])
@pytest.mark.parametrize("seed", range(3))
def test_prompts_that_fail_are_counted_once_whatever_ends_a_run(
    tmp_path: Path, schedule: dict[str, Any], seed: int
) -> None:
    rng, failed, killed = random.Random(seed), Failures({}), 0
    failing = frozenset(rng.sample(range(24), 5))
    world = Unlucky()
    for attempt in range(13):
        last = attempt == 12
        world = Unlucky(lambda prompt: rng.choice((0.0, 0.5, 30.0)), failing=failing)
        world.kill_in = None if last else rng.randrange(3, 40)
        steps = 8 if last else rng.choice((3, 5, 8))
        settings = config(schedule=schedule, steps=steps, algorithm=GroupRelativeConfig())
        loop = TrainingLoop(settings, world, world, folder=tmp_path, loggers=[failed])
        try:
            simulate(loop.fit(tasks()))
        except Killed:
            killed += 1
    assert killed
    assert prompts_of(world) == sorted(set(range(24)) - failing)
    assert Counter(p for found in failed.steps.values() for p in found) == Counter(
        map(str, failing)
    )


async def test_finished_groups_are_kept_in_the_checkpoint(tmp_path: Path) -> None:
    settings = config(schedule={"kind": "async", "max_staleness": 3})
    first = World(lambda prompt: 0.0)
    await run(tmp_path, first, settings.model_copy(update={"max_seconds": 1e-9}))
    assert len(first.trained) == 1
    second = World()
    await run(tmp_path, second, settings)
    assert prompts_of(second) == list(range(24))
    # Twelve groups were open after the first step; those that were complete are not sampled again.
    assert sum(second.began.values()) <= 24 - 2 * PER_STEP


@pytest.mark.parametrize("schedule", [{"kind": "sync"}, {"kind": "dynamic"}, *AHEAD])
@in_simulated_time
async def test_rollouts_of_a_task_that_comes_twice_in_a_step_have_trials_of_their_own(
    tmp_path: Path, schedule: dict[str, Any]
) -> None:
    async def run_episode(task: Task, trial: int, seed: int) -> Episode:
        agents = (make_agent(make_turn([int(task.id) + 1], [seed % 1000 + 1])),)
        return Episode(task_id=task.id, trial=trial, trajectories=agents, answer=str(trial))

    class TrialJudge:
        async def score(self, task: Task, answer: str) -> Score:
            metrics = TextMetrics(correct=float(int(answer) % 2))
            return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)

    seen: list[Counter[tuple[str, int]]] = []

    class Trials:
        async def start(self, step: int) -> None:
            return None

        async def write(self, report: StepReport) -> None:
            found = [scored.episode for group in report.groups for scored in group]
            seen.append(Counter((episode.task_id, episode.trial) for episode in found))

        async def close(self) -> None:
            return None

    settings = config(schedule=schedule, prompts_per_step=5, steps=3, on_duplicates="warn")
    source = Rollouts(run_episode, TrialJudge(), group_size=2)
    loop = TrainingLoop(settings, World(), source, folder=tmp_path, loggers=[Trials()])
    await loop.fit(tasks(2))
    assert [(len(trials), trials.total()) for trials in seen] == [(10, 10)] * 3


@pytest.mark.parametrize("schedule", AHEAD)
@in_simulated_time
async def test_what_a_prompt_trains_on_does_not_depend_on_how_long_rollouts_take(
    tmp_path: Path, schedule: dict[str, Any]
) -> None:
    class EqualJudge:
        async def score(self, task: Task, answer: str) -> Score:
            metrics = TextMetrics(correct=1.0)
            return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)

    async def trained(name: str, seconds: Callable[[int], float]) -> tuple[set[str], int]:
        begun, kept = list[str](), set[str]()

        async def run_episode(task: Task, trial: int, seed: int) -> Episode:
            begun.append(answer := f"{task.id} {trial} {seed}")
            await asyncio.sleep(seconds(int(task.id)) + trial / 1000)
            agents = (make_agent(make_turn([int(task.id) + 1], [seed % 1000 + 1])),)
            return Episode(task_id=task.id, trial=trial, trajectories=agents, answer=answer)

        class Answers:
            async def start(self, step: int) -> None:
                return None

            async def write(self, report: StepReport) -> None:
                kept.update(scored.episode.answer for group in report.groups for scored in group)

            async def close(self) -> None:
                return None

        source = Rollouts(run_episode, EqualJudge(), group_size=2)
        folder, settings = tmp_path / name, config(schedule=schedule)
        loop = TrainingLoop(settings, World(), source, folder=folder, loggers=[Answers()])
        await loop.fit(tasks())
        return kept, len(begun)

    runs = [
        await trained("first", slow(3, 7, 20)),
        await trained("second", slow(*range(0, 24, 4))),
        await trained("none", at_once),
    ]
    assert [len(kept) for kept, _ in runs] == [48] * 3  # two rollouts of each of 24 prompts
    assert runs[0][0] == runs[1][0] == runs[2][0]
    if schedule is TAIL:
        assert max(begun for _, begun in runs) > 48  # some were sampled again


@in_simulated_time
async def test_a_step_reports_the_tokens_of_groups_that_it_gave_up(tmp_path: Path) -> None:
    async def run_episode(task: Task, trial: int, seed: int) -> Episode:
        if int(task.id) % 2:  # reports no turn before its end, and ends at different times
            await asyncio.sleep(0.5 + 60 * trial)
        else:
            spent = list[Usage]()
            report_usage(lambda: tuple(spent))
            for _ in range(1 + int(task.id)):
                await asyncio.sleep(1.0)
                spent.append(Usage(role="lead", model="", response_tokens=10))
        agents = (make_agent(make_turn([int(task.id) + 1], [seed % 1000 + 1, trial + 1])),)
        return Episode(task_id=task.id, trial=trial, trajectories=agents, answer=str(trial))

    class TrialJudge:
        async def score(self, task: Task, answer: str) -> Score:
            metrics = TextMetrics(correct=float(answer))
            return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)

    seen: list[tuple[set[int], float, float]] = []

    class Tokens:
        async def start(self, step: int) -> None:
            return None

        async def write(self, report: StepReport) -> None:
            prompts = {int(scored.episode.task_id) for group in report.groups for scored in group}
            values = [report.metrics[f"tokens/{name}"] for name in ("generated", "unused")]
            seen.append((prompts, values[0], values[1]))

        async def close(self) -> None:
            return None

    settings = config(schedule={"kind": "tail", "extra": 3.0}, prompts_per_step=1, steps=4)
    source = Rollouts(run_episode, TrialJudge(), group_size=2)
    loop = TrainingLoop(settings, World(), source, folder=tmp_path, loggers=[Tokens()])
    await loop.fit(tasks(4))
    # Prompt 0 is first, after a second: both rollouts of 2 have 10 tokens by then, of 1 and 3 one
    # rollout each has ended, with a turn of 2 tokens. The others have their long steps.
    assert seen[0] == ({0}, 4, 2 * 10 + 2 + 2)
    later = sorted((*prompts, unused) for prompts, _, unused in seen[1:])
    assert later == [(1, 0), (2, 0), (3, 0)]


@in_simulated_time
async def test_groups_that_are_complete_when_a_step_is_saved_are_kept(tmp_path: Path) -> None:
    async def evaluate(step: int) -> dict[str, float]:
        await asyncio.sleep(10.0)  # all open groups are complete then
        return {"item_f1": 0.5}

    def loop(world: World, limit: float | None) -> TrainingLoop:
        schedule = {"kind": "async", "max_staleness": 3}
        settings = config(schedule=schedule, evaluate_every=1, max_seconds=limit)
        return TrainingLoop(settings, world, world, folder=tmp_path, evaluate=evaluate)

    first, second = World(lambda _: 1.0), World(lambda _: 1.0)
    assert (await loop(first, 1e-9).fit(tasks())).steps == 1
    await loop(second, None).fit(tasks())
    assert prompts_of(second) == list(range(24))
    assert sum(first.began.values()) == 5 * PER_STEP
    assert sum(second.began.values()) == 24 - 5 * PER_STEP


def test_a_ledger_hands_out_every_position_once() -> None:
    ledger = PromptLedger(PromptProgress(next_position=4, untrained=(1, 3)), total=8)
    assert (ledger.left, ledger.waiting) == (6, 2)
    assert ledger.take(3) == [1, 3, 4]
    ledger.give_back([3])
    assert ledger.take_new(2) == [5, 6]
    ledger.trained([1, 4, 5])
    assert ledger.progress({6}) == PromptProgress(next_position=7, untrained=(3, 6), finished=(6,))
    assert (ledger.take(9), ledger.take(1), ledger.left) == ([3, 7], [], 0)


def test_a_sequence_of_prompts_is_cut_into_the_same_steps() -> None:
    sampler = PromptSampler(tasks(10), per_step=4, seed=3)
    ids = [task.id for step in range(5) for task in sampler.at(step)]
    assert [sampler.task(position).id for position in range(20)] == ids


def test_staleness_has_to_be_allowed() -> None:
    with pytest.raises(ValidationError, match="max_staleness"):
        config(schedule={"kind": "async", "max_staleness": 0})
