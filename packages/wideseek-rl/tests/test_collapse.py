import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wideseek_core import Task, TextGold
from wideseek_rl import (
    RLConfig,
    StopConfig,
    TrainingLoop,
    TrainingSample,
    TrainSummary,
    UpdateMetrics,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.loop.collapse import CollapseWatch
from wideseek_rl.rollout.runner import Group
from wideseek_rl.testing import make_scored

HEALTHY = {
    "update/entropy": 0.5,
    "update/ratio": 1.0,
    "update/tokens_trained": 100.0,
    "ended/repetition": 0.0,
    "score/format_rate": 1.0,
    "rollouts/used": 8.0,
}


def reasons(stop: dict[str, Any], *steps: dict[str, float]) -> list[str]:
    watch = CollapseWatch(StopConfig.model_validate({"steps": 2, **stop}))
    return [watch.see(HEALTHY | step) for step in steps]


@pytest.mark.parametrize(
    ("stop", "bad", "reason"),
    [
        ({"min_entropy": 0.02}, {"update/entropy": 0.01}, "min_entropy: 0.01 against 0.02"),
        ({"max_entropy": 4}, {"update/entropy": 5.0}, "max_entropy: 5 against 4"),
        ({"max_ratio": 2}, {"update/ratio": 3.0}, "max_ratio: 3 against 2"),
        ({"max_repetition": 0.3}, {"ended/repetition": 0.5}, "max_repetition: 0.5 against 0.3"),
        ({"min_valid": 0.2}, {"score/format_rate": 0.1}, "min_valid: 0.1 against 0.2"),
    ],
)
def test_a_rule_that_is_broken_long_enough_ends_the_run(
    stop: dict[str, Any], bad: dict[str, float], reason: str
) -> None:
    assert reasons(stop, bad, {}, bad, bad) == ["", "", "", f"{reason} for 2 steps"]
    assert reasons({}, bad, bad, bad) == [""] * 3


@pytest.mark.parametrize(
    "silent", [{"update/tokens_trained": 0.0}, {"update/entropy": math.nan}, {}]
)
def test_a_step_that_trained_on_nothing_says_nothing(silent: dict[str, float]) -> None:
    low = {"update/entropy": 0.0}
    found = reasons({"min_entropy": 0.02}, low, low | silent, low | silent)
    assert [bool(reason) for reason in found] == [False, not silent, not silent]
    assert reasons({"min_entropy": 0.02}, low, low | silent, low)[-1]


@pytest.mark.parametrize(
    "wrong",
    [{"min_valid": 0}, {"max_ratio": 1}, {"steps": 0}, {"min_entropy": 0.5, "max_entropy": 0.5}],
)
def test_rules_that_can_not_hold_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StopConfig.model_validate(wrong)


class Falling:
    """A policy whose entropy halves with every update."""

    def __init__(self) -> None:
        self.updates = 0

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        return [[make_scored(value=0.1), make_scored(value=0.9)] for _ in tasks]

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        self.updates += 1
        return UpdateMetrics(updates=1, tokens_trained=4, entropy=2.0**-self.updates)

    async def save(self, folder: Path) -> None:
        (folder / "updates").write_text(str(self.updates))

    async def load(self, folder: Path) -> None:
        self.updates = int((folder / "updates").read_text())

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    weights: Any = None
    intact = True


async def fit(folder: Path, policy: Falling, **changes: Any) -> TrainSummary:
    values = {
        "prompts_per_step": 1,
        "steps": 9,
        "evaluate_every": 1,
        "checkpoint": {"every_steps": 1, "best_metric": "score"},
        "stop": {"min_entropy": 0.1, "steps": 2},
        "loggers": (),
    }

    async def evaluate(step: int) -> dict[str, float]:
        return {"score": 1.0 if step == 2 else 1 / (1 + step)}

    config = RLConfig.model_validate(values | changes)
    task = Task(id="a", question="?", gold=TextGold(answers=("x",)))
    loop = TrainingLoop(config, policy, policy, folder=folder, evaluate=evaluate)
    return await loop.fit([task])


async def test_a_run_that_collapsed_ends_with_its_best_checkpoint_and_a_reason(
    tmp_path: Path,
) -> None:
    # Entropy is 1/16 after the fourth update and 1/32 after the fifth.
    policy = Falling()
    summary = await fit(tmp_path, policy)
    assert summary.steps == 5
    assert summary.stopped == "min_entropy: 0.03125 against 0.1 for 2 steps"
    assert summary.checkpoint.name == "best"
    assert policy.updates == 2  # the weights of the best step are back
    again = Falling()
    assert await fit(tmp_path, again) == summary  # resumed, it stays as it is
    assert again.updates == 2


async def test_a_stopped_run_goes_ahead_without_the_rule(tmp_path: Path) -> None:
    await fit(tmp_path, Falling())
    policy = Falling()
    summary = await fit(tmp_path, policy, stop={})
    assert (summary.steps, summary.stopped, policy.updates) == (9, "", 9)


async def test_without_evaluation_the_last_checkpoint_remains(tmp_path: Path) -> None:
    policy = Falling()
    summary = await fit(tmp_path, policy, evaluate_every=0)
    assert (summary.checkpoint.name, policy.updates) == ("step_000005", 5)


async def test_a_resumed_run_remembers_how_long_a_rule_has_been_broken(tmp_path: Path) -> None:
    # Below 0.1 after the fourth update for the first time, and the run ends there.
    assert (await fit(tmp_path, Falling(), steps=4)).stopped == ""
    summary = await fit(tmp_path, Falling())
    assert (summary.steps, summary.stopped) == (5, "min_entropy: 0.03125 against 0.1 for 2 steps")


def test_counts_of_broken_rules_are_given_back() -> None:
    config = StopConfig(min_entropy=0.02, max_ratio=2, steps=3)
    watch = CollapseWatch(config)
    watch.see(HEALTHY | {"update/entropy": 0.01})
    assert watch.broken == {"min_entropy": 1}
    again = CollapseWatch(config, watch.broken)
    assert again.see(HEALTHY | {"update/entropy": 0.01}) == ""
    assert again.see(HEALTHY | {"update/entropy": 0.01}).endswith("for 3 steps")
    again.see(HEALTHY)
    assert again.broken == {}
