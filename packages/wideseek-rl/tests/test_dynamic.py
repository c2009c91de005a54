from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wideseek_core import Task, TextGold
from wideseek_rl import (
    AdvantageConfig,
    GroupRelativeConfig,
    RLConfig,
    TrainingLoop,
    TrainingSample,
    UpdateMetrics,
    build_step_batch,
    group_relative,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.rollout.runner import Group
from wideseek_rl.testing import make_agent, make_scored, make_turn

DROP = GroupRelativeConfig(equal_groups="drop")


class Prompts:
    """Prompts of which those in `equal` have rollouts of equal rewards."""

    weights: Any = None
    intact = True

    def __init__(self, *equal: int) -> None:
        self._equal = equal
        self.sampled: list[int] = []
        self.reports: list[StepReport] = []

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        self.sampled.append(step)
        low = 0.9 if step in self._equal else 0.1
        return [[make_scored(value=low), make_scored(value=0.9)]]

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        return UpdateMetrics(updates=1, samples=len(samples))

    async def save(self, folder: Path) -> None:
        (folder / "weights").write_text("")

    async def load(self, folder: Path) -> None: ...

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    async def start(self, step: int) -> None: ...

    async def write(self, report: StepReport) -> None:
        self.reports.append(report)

    async def close(self) -> None: ...


async def run(folder: Path, prompts: Prompts, **changes: Any) -> list[dict[str, float]]:
    values = {
        "prompts_per_step": 3,
        "steps": 2,
        "algorithm": DROP,
        "schedule": {"kind": "dynamic", "max_rounds": 3},
        "loggers": (),
    }
    config = RLConfig.model_validate(values | changes)
    gold = TextGold(answers=("x",))
    tasks = [Task(id=str(n), question="?", gold=gold) for n in range(30)]
    await TrainingLoop(config, prompts, prompts, folder=folder, loggers=[prompts]).fit(tasks)
    return [dict(report.metrics) for report in prompts.reports]


async def test_prompts_that_teach_nothing_are_replaced(tmp_path: Path) -> None:
    prompts = Prompts(0, 2, 3)
    first, second = await run(tmp_path, prompts)
    # 0, 1, 2: one has signal; then 3, 4: one has; then 5. The second step takes 6, 7, 8.
    assert prompts.sampled == list(range(9))
    assert (first["groups/filtered"], first["rollouts"], first["update/samples"]) == (3, 12, 6)
    assert (second["groups/filtered"], second["rollouts"]) == (0, 6)


async def test_a_step_gives_up_after_so_many_rounds(tmp_path: Path) -> None:
    prompts = Prompts(*range(8))
    first, second = await run(tmp_path, prompts, schedule={"kind": "dynamic", "max_rounds": 2})
    assert (first["groups/filtered"], first["update/samples"]) == (6, 0)
    assert (second["groups/filtered"], second["update/samples"]) == (2, 6)


async def test_a_resumed_run_samples_no_prompt_twice(tmp_path: Path) -> None:
    await run(tmp_path, Prompts(1), steps=1)
    prompts = Prompts(1)
    await run(tmp_path, prompts, steps=2)
    assert prompts.sampled == [4, 5, 6]


def test_prompts_of_equal_rewards_may_leave_the_mean() -> None:
    def weights(algorithm: GroupRelativeConfig) -> list[float]:
        agent = make_agent(make_turn([1], [2, 3]))
        equal = [make_scored(agent, value=0.5), make_scored(agent, value=0.5)]
        other = [make_scored(agent, value=0.5), make_scored(agent, value=0.7)]
        batch = build_step_batch([equal, other], group_relative(algorithm))
        assert batch.zero_variance == 1
        return [float(sample.weights[-1]) for sample in batch.samples]

    assert weights(GroupRelativeConfig()) == [1 / 2 / 2 / 2] * 4
    assert weights(DROP) == [1 / 2 / 2] * 2
    assert weights(GroupRelativeConfig(equal_groups="drop", weighting="token")) == [1 / 4] * 2
    little = AdvantageConfig(min_spread=0.5)
    assert weights(GroupRelativeConfig(equal_groups="drop", advantage=little)) == []


def test_the_length_of_failed_rollouts_may_cost_too() -> None:
    long = make_agent(make_turn(response_tokens=4000))
    group = [make_scored(long, value=0.5), make_scored(long, valid=False)]
    settings = {"weights": {"length": -1.0, "format": 0.0, "access": 0.0}}
    for failed, wanted in ((False, [0.0, 0.0]), (True, [0.0, -0.5])):
        reward = settings | {"length_of_failed": failed}
        config = GroupRelativeConfig.model_validate({"reward": reward})
        values = [reward.value for reward in group_relative(config).rewards(group)]
        assert values == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": None}, "schedule.kind=dynamic needs steps"),
        ({"steps": None, "epochs": 2}, "schedule.kind=dynamic needs steps"),
        ({"algorithm": {"kind": "group_relative"}}, "algorithm.equal_groups=keep"),
        (
            {"algorithm": {"kind": "best_of_group"}, "group_size": 1},
            "differ in their reward, which one alone never does: set group_size to 2 or more",
        ),
    ],
)
def test_settings_that_dynamic_sampling_can_not_honour_are_refused(
    changes: dict[str, Any], problem: str
) -> None:
    values = {"steps": 2, "algorithm": DROP, "schedule": {"kind": "dynamic"}}
    RLConfig.model_validate(values)
    RLConfig.model_validate(values | {"algorithm": {"kind": "best_of_group"}})
    with pytest.raises(ValidationError, match=problem):
        RLConfig.model_validate(values | changes)
