"""The best checkpoint over the life of a run: kills, damage, and evaluations that fail."""

import asyncio
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import (
    CheckpointError,
    JudgeError,
    PolicyUnavailable,
    RanksLost,
    Task,
    TextGold,
    TrainError,
)
from wideseek_rl import (
    RLConfig,
    TrainingLoop,
    TrainingSample,
    TrainSummary,
    UpdateMetrics,
    read_checkpoint,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.loop.best import best_value
from wideseek_rl.rollout.runner import Group
from wideseek_rl.testing import make_scored

Values = Callable[[int], float]


class Policy:
    """Counts its updates, and that is all it learns."""

    def __init__(self) -> None:
        self.updates = 0

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        return [[make_scored(value=0.1), make_scored(value=0.9)] for _ in tasks]

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        self.updates += 1
        return UpdateMetrics(updates=1, tokens_trained=4, entropy=1.0)

    async def save(self, folder: Path) -> None:
        (folder / "updates").write_text(str(self.updates))

    async def load(self, folder: Path) -> None:
        self.updates = int((folder / "updates").read_text())

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    weights: Any = None
    intact = True


async def fit(
    folder: Path, values: Values, *, metric: str = "score", policy: Policy | None = None, **rl: Any
) -> TrainSummary:
    """Trains, evaluating every step to the value of the step; a checkpoint every second one."""

    async def evaluate(step: int) -> dict[str, float]:
        return {"score": values(step), "correct": values(step)}

    settings = {
        "prompts_per_step": 1,
        "evaluate_every": 1,
        "checkpoint": {"every_steps": 2, "keep_last": 9, "best_metric": metric},
        "loggers": (),
    }
    policy = policy or Policy()
    config = RLConfig.model_validate(settings | rl)
    loop = TrainingLoop(config, policy, policy, folder=folder, evaluate=evaluate)
    return await loop.fit([Task(id="a", question="?", gold=TextGold(answers=("x",)))])


def best(folder: Path) -> tuple[int, float | None]:
    state = read_checkpoint(folder / "checkpoints" / "best")
    return state.step, state.best


def damage(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "checkpoints" / name / "updates").write_text("damaged")


async def test_a_run_that_goes_back_keeps_a_best_checkpoint_that_is_later(tmp_path: Path) -> None:
    await fit(tmp_path, lambda step: step / 10, steps=3)
    shutil.rmtree(tmp_path / "checkpoints" / "step_000003")  # as if killed before it was written
    assert (await fit(tmp_path, lambda _: 0.25, steps=5)).best == 0.3
    assert best(tmp_path) == (3, 0.3)


async def test_a_run_that_was_killed_before_its_first_step_was_saved_has_the_best(
    tmp_path: Path,
) -> None:
    checkpoint = {"every_steps": 30, "best_metric": "score"}
    await fit(tmp_path, lambda step: step / 10, steps=3, checkpoint=checkpoint)
    shutil.rmtree(tmp_path / "checkpoints" / "step_000003")  # as if killed before it was written
    policy = Policy()
    await fit(tmp_path, lambda _: 0.25, steps=5, policy=policy, checkpoint=checkpoint)
    assert (policy.updates, best(tmp_path)) == (5, (3, 0.3))


async def test_a_damaged_best_checkpoint_need_not_be_beaten(tmp_path: Path) -> None:
    await fit(tmp_path, lambda _: 0.9, steps=2)
    damage(tmp_path, "best")
    assert (await fit(tmp_path, lambda _: 0.6, steps=4)).best == 0.6
    assert best(tmp_path) == (3, 0.6)
    assert (tmp_path / "checkpoints" / "damaged_best").is_dir()


async def test_values_of_another_metric_are_not_compared(tmp_path: Path) -> None:
    await fit(tmp_path, lambda _: 0.9, steps=2)
    await fit(tmp_path, lambda _: 0.6, steps=4, metric="correct")
    assert best(tmp_path) == (3, 0.6)


async def test_where_all_steps_are_damaged_a_run_resumes_from_the_best(tmp_path: Path) -> None:
    await fit(tmp_path, lambda step: 1 / step, steps=4)
    damage(tmp_path, "step_000002", "step_000004")
    policy = Policy()
    assert (await fit(tmp_path, lambda step: 1 / step, steps=4, policy=policy)).steps == 4
    assert policy.updates == 4  # the first one is that of the best checkpoint
    damage(tmp_path, "step_000002", "step_000004", "best")
    with pytest.raises(CheckpointError, match=r"step_000004.* no undamaged checkpoint is left"):
        await fit(tmp_path, lambda step: 1 / step, steps=6)


async def test_a_stopped_run_does_not_end_with_damaged_weights(tmp_path: Path) -> None:
    def values(step: int) -> float:
        if step == 3:
            damage(tmp_path, "best")
        return 1 / step

    policy = Policy()
    stop = {"min_entropy": 2.0, "steps": 4}
    summary = await fit(tmp_path, values, steps=9, stop=stop, policy=policy)
    assert (summary.checkpoint.name, policy.updates) == ("step_000004", 4)


@pytest.mark.parametrize("error", [PolicyUnavailable("down"), JudgeError("down")])
async def test_an_evaluation_that_fails_loses_no_step(tmp_path: Path, error: Exception) -> None:
    def values(step: int) -> float:
        if step == 3:
            raise error
        return 0.5

    with pytest.raises(type(error), match="down"):
        await fit(tmp_path, values, steps=5)
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000003").updates == 3
    policy = Policy()
    assert (await fit(tmp_path, lambda _: 0.5, steps=5, policy=policy)).updates == 5
    assert policy.updates == 5


@pytest.mark.parametrize("steps", [3, 5])
async def test_an_evaluation_that_failed_is_made_when_the_run_resumes(
    tmp_path: Path, steps: int
) -> None:
    def failing(step: int) -> float:
        if step == 3:
            raise JudgeError("down")
        return 0.5

    seen: list[int] = []

    def values(step: int) -> float:
        seen.append(step)
        return 0.9 if step == 3 else 0.5

    for _ in range(2):
        with pytest.raises(JudgeError):
            await fit(tmp_path, failing, steps=steps)
    assert (await fit(tmp_path, values, steps=steps)).best == 0.9
    assert best(tmp_path) == (3, 0.9)
    assert (await fit(tmp_path, values, steps=steps)).best == 0.9
    assert seen[::2] == list(range(3, steps + 1))  # each for two metrics


class Ending(Policy):
    """Its rollouts can't be had from a step on, or are of no use."""

    def __init__(self, step: int, error: Exception | None) -> None:
        super().__init__()
        self._step, self._error = step, error

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        if step < self._step:
            return await super().collect(tasks, step)
        if self._error is not None:
            async with asyncio.TaskGroup() as group:
                for _ in tasks:
                    group.create_task(self._fail())
        return [[make_scored(error="broken")] for _ in tasks]

    async def _fail(self) -> None:
        assert self._error is not None
        raise self._error


@pytest.mark.parametrize("error", [PolicyUnavailable("down"), JudgeError("down"), None])
async def test_rollouts_that_can_not_be_had_lose_no_step(
    tmp_path: Path, error: Exception | None
) -> None:
    checkpoint = {"every_steps": 30, "best_metric": None}
    with pytest.raises(type(error or TrainError()), match=r"down|no rollout could be used"):
        await fit(tmp_path, lambda _: 0.5, steps=9, policy=Ending(3, error), checkpoint=checkpoint)
    done = 3 if error else 5  # two steps without a rollout are borne
    saved = tmp_path / "checkpoints" / f"step_{done:06d}"
    assert read_checkpoint(saved).updates == 3
    policy = Policy()
    summary = await fit(tmp_path, lambda _: 0.5, steps=9, policy=policy, checkpoint=checkpoint)
    assert (summary.updates, policy.updates) == (12 - done, 12 - done)


async def test_a_run_that_fails_at_once_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(JudgeError):
        await fit(tmp_path, lambda _: 0.5, steps=9, policy=Ending(0, JudgeError("down")))
    assert not list((tmp_path / "checkpoints").glob("step_*"))


async def test_an_unknown_metric_loses_no_step(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="no metric 'f1'"):
        await fit(tmp_path, lambda _: 0.5, steps=5, metric="f1")
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000001").updates == 1


async def test_lost_ranks_are_not_asked_for_their_weights(tmp_path: Path) -> None:
    policy = Policy()

    def values(step: int) -> float:
        policy.intact = False
        raise RanksLost("gone")

    with pytest.raises(RanksLost):
        await fit(tmp_path, values, steps=5, policy=policy)
    assert not (tmp_path / "checkpoints" / "step_000001").exists()


@pytest.mark.parametrize(
    ("metrics", "value"),
    [
        ({"item_f1": 0.5}, 0.5),
        ({"a/item_f1": 0.5, "b/item_f1": 0.7}, 0.6),
        ({"a/item_f1": 0.5, "b/correct": 0.7}, 0.5),
        ({"a/item_f1": math.inf, "b/item_f1": -math.inf}, None),
        # Nothing of a set was scored: it has no metric of its kind, and the others are NaN.
        ({}, None),
        ({"score": math.nan}, None),
        ({"a/score": math.nan, "b/score": 0.9, "b/item_f1": 0.9}, None),
    ],
)
def test_a_step_is_compared_by_all_of_its_sets(
    metrics: Mapping[str, float], value: float | None
) -> None:
    assert best_value(metrics, "item_f1") == (None if value is None else pytest.approx(value))


def test_one_set_may_name_the_best_whatever_becomes_of_others() -> None:
    assert best_value({"a/f1": 0.5, "b/score": math.nan}, "a/f1") == 0.5
