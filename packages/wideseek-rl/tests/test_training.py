import asyncio
import json
import math
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from wideseek_core import (
    CheckpointError,
    ConfigError,
    DataError,
    Sampling,
    ScoreState,
    Status,
    Task,
    TrainError,
    Trajectory,
)
from wideseek_rl import (
    BuiltinEngineConfig,
    CheckpointConfig,
    LoggedRun,
    OptimizerConfig,
    RLConfig,
    RolloutSource,
    ScoredEpisode,
    TorchTrainerConfig,
    TrainingLoop,
    TrainingSample,
    UpdateMetrics,
    open_loggers,
    read_checkpoint,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.loop.training import RESUMABLE_KEYS
from wideseek_rl.testing import make_agent, make_scored, make_turn, tiny_model
from wideseek_rl.toy import toy_rollouts, toy_tasks
from wideseek_rl.trainers.in_thread import InThread
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.torch import TorchTrainer

TRAINER = TorchTrainerConfig(optimizer=OptimizerConfig(lr=3e-2, eps=1e-8))


def config(**changes: Any) -> RLConfig:
    base = RLConfig(
        prompts_per_step=6,
        group_size=8,
        steps=4,
        checkpoint=CheckpointConfig(every_steps=2),
        loggers=(),
        log_episodes=False,
    )
    return base.model_copy(update=changes)


def loop(folder: Path, config: RLConfig, **parts: Any) -> TrainingLoop:
    model = tiny_model()
    rollouts = parts.pop("rollouts", None) or toy_rollouts(model, group_size=config.group_size)
    trainer = parts.pop("trainer", None) or InThread(TorchTrainer(model, TRAINER))
    settings = parts.pop("trainer_config", TRAINER)
    return TrainingLoop(
        config,
        trainer,
        rollouts,
        folder=folder,
        loggers=open_loggers(
            config.loggers, LoggedRun(folder=folder), episodes=config.log_episodes
        ),
        trainer_config=settings,
        **parts,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


class Fixed:
    """The same rollouts for every task."""

    def __init__(self, *group: ScoredEpisode) -> None:
        self.group = list(group)

    async def collect(self, tasks: Sequence[Task], step: int) -> list[list[ScoredEpisode]]:
        return [self.group for _ in tasks]


async def test_reward_rises(tmp_path: Path) -> None:
    summary = await loop(tmp_path, config(steps=20)).fit(toy_tasks())
    scores = [line["score/mean"] for line in lines(tmp_path)]
    assert (summary.steps, summary.updates) == (20, 20)
    assert sum(scores[:3]) / 3 < 0.15
    assert sum(scores[-3:]) / 3 > 0.5


async def test_every_step_reports_its_metrics_and_the_last_is_saved(tmp_path: Path) -> None:
    summary = await loop(tmp_path, config(steps=3)).fit(toy_tasks())
    first = lines(tmp_path)[0]
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    assert first["update/mismatch"] == pytest.approx(0, abs=1e-5)
    assert first["update/tokens_trained"] + 3 * first["update/zero_advantage_samples"] == 6 * 8 * 3
    assert summary.checkpoint.name == "step_000003"
    assert read_checkpoint(summary.checkpoint).updates == 3


async def test_a_step_of_several_optimizer_steps_is_one_version_of_the_weights(
    tmp_path: Path,
) -> None:
    model = tiny_model()
    settings = TRAINER.model_copy(update={"updates_per_step": 2})
    trainer, sampler = InThread(TorchTrainer(model, settings)), engine()
    parts: Any = {"trainer": trainer, "sync": sampler.sync(trainer)}
    summary = await loop(tmp_path, config(steps=2), **parts).fit(toy_tasks())
    assert [line["update/updates"] for line in lines(tmp_path)] == [2, 2]
    assert (summary.updates, sampler.version) == (2, 2)


async def test_dropped_rollouts_never_train_as_zeros(tmp_path: Path) -> None:
    good = [make_scored(value=0.5, trial=trial) for trial in range(2)]
    unscored = make_scored(state=ScoreState.UNSCORED)
    broken = make_scored(error="gone")
    summary = await loop(tmp_path, config(steps=1), rollouts=Fixed(*good, unscored, broken)).fit(
        toy_tasks()
    )
    (line,) = lines(tmp_path)
    assert (line["dropped/unscored"], line["dropped/error"]) == (6, 6)
    assert (line["update/updates"], line["update/zero_advantage_samples"]) == (0, 12)
    assert (summary.steps, summary.updates) == (1, 0)


async def test_steps_without_any_usable_rollout_end_the_run(tmp_path: Path) -> None:
    source: RolloutSource = Fixed(make_scored(error="gone"))
    with pytest.raises(TrainError, match="no rollout could be used in 3 steps"):
        await loop(tmp_path, config(steps=9), rollouts=source).fit(toy_tasks())
    first = lines(tmp_path)[0]
    made_up = ("score/", "reward/", "staleness/", "groups/equal_responses", "update/mismatch")
    assert [name for name in first if name.startswith(made_up)] == []
    assert (first["update/samples"], first["update/tokens_run"]) == (0, 0)
    assert not {"update/loss", "update/entropy", "update/ratio", "update/lr"} & first.keys()
    assert not {"speed/trained_per_s", "update/drift"} & first.keys()


async def test_a_resumed_run_counts_the_steps_before_it_that_had_no_rollout(
    tmp_path: Path,
) -> None:
    source: RolloutSource = Fixed(make_scored(error="gone"))
    await loop(tmp_path, config(steps=2), rollouts=source).fit(toy_tasks())
    with pytest.raises(TrainError, match="no rollout could be used in 3 steps"):
        await loop(tmp_path, config(steps=9), rollouts=source).fit(toy_tasks())
    assert len(lines(tmp_path)) == 2


async def test_a_run_that_lost_its_last_checkpoint_reports_held_out_tasks_again(
    tmp_path: Path,
) -> None:
    async def final(step: int) -> dict[str, float]:
        return {"score": step / 10}

    settings = config(steps=2, prompts_per_step=1, group_size=2)
    settings = settings.model_copy(update={"checkpoint": CheckpointConfig(every_steps=1)})
    await loop(tmp_path, settings, final=final).fit(toy_tasks())
    shutil.rmtree(tmp_path / "checkpoints" / "step_000002")
    await loop(tmp_path, settings, final=final).fit(toy_tasks())
    name = "eval/held_out/score"
    assert [line["step"] for line in lines(tmp_path) if name in line] == [2]


async def test_held_out_tasks_are_reported_before_and_after_and_stay_when_a_run_is_resumed(
    tmp_path: Path,
) -> None:
    async def baseline(step: int) -> dict[str, float]:
        return {"score": 0.05}

    async def final(step: int) -> dict[str, float]:
        return {"score": step / 10}

    for steps in (1, 2, 2):  # the last time nothing is left to do
        settings = config(steps=steps, prompts_per_step=1, group_size=2)
        await loop(tmp_path, settings, baseline=baseline, final=final).fit(toy_tasks())
    name = "eval/held_out/score"
    points = [(line["step"], line[name]) for line in lines(tmp_path) if name in line]
    assert points == [(0, 0.05), (1, 0.1), (2, 0.2)]


async def test_sources_have_metrics_of_their_own_where_there_are_several(tmp_path: Path) -> None:
    settings = config(steps=1, prompts_per_step=2, group_size=2)
    tasks = toy_tasks()[:2]
    await loop(tmp_path / "one", settings).fit(tasks)
    assert not any(name.startswith("source/") for name in lines(tmp_path / "one")[0])
    named = [task.model_copy(update={"source": f"s{n}/x"}) for n, task in enumerate(tasks)]
    await loop(tmp_path / "two", settings).fit(named)
    (line,) = lines(tmp_path / "two")
    assert (line["source/s0/rollouts"], line["source/s1/rollouts"]) == (2, 2)
    assert {"source/s0/reward", "source/s1/zero_variance"} <= line.keys()


async def test_the_best_checkpoint_is_the_one_that_evaluates_best(tmp_path: Path) -> None:
    values = {2: 0.3, 4: 0.6, 6: 0.5}

    async def evaluate(step: int) -> Mapping[str, float]:
        return {"item_f1": values[step]}

    summary = await loop(tmp_path, config(steps=6, evaluate_every=2), evaluate=evaluate).fit(
        toy_tasks()
    )
    assert summary.best == 0.6
    assert read_checkpoint(tmp_path / "checkpoints" / "best").step == 4
    evaluated = [(o["step"], o["eval/item_f1"]) for o in lines(tmp_path) if "eval/item_f1" in o]
    assert evaluated == list(values.items())


async def test_the_best_checkpoint_counts_several_sets_and_the_last_step(tmp_path: Path) -> None:
    values = {2: (0.9, 0.1), 4: (0.4, 0.5), 5: (0.6, 0.6)}

    async def evaluate(step: int) -> Mapping[str, float]:
        return dict(zip(("atlas/item_f1", "wiki/item_f1"), values[step], strict=True))

    summary = await loop(tmp_path, config(steps=5, evaluate_every=2), evaluate=evaluate).fit(
        toy_tasks()
    )
    assert summary.best == pytest.approx(0.6)
    assert read_checkpoint(tmp_path / "checkpoints" / "best").step == 5
    one = config(
        steps=5, evaluate_every=2, checkpoint=CheckpointConfig(best_metric="atlas/item_f1")
    )
    assert (await loop(tmp_path / "one", one, evaluate=evaluate).fit(toy_tasks())).best == 0.9


async def test_an_evaluation_that_scored_nothing_names_no_best_checkpoint(tmp_path: Path) -> None:
    async def evaluate(step: int) -> Mapping[str, float]:
        return {"item_f1": math.nan if step == 1 else 0.2}

    summary = await loop(tmp_path, config(steps=2, evaluate_every=1), evaluate=evaluate).fit(
        toy_tasks()
    )
    assert summary.best == 0.2
    assert lines(tmp_path)[1] == {"version": 1, "step": 1, "eval/item_f1": None}


async def test_an_evaluation_without_the_wanted_metric_is_an_error(tmp_path: Path) -> None:
    async def evaluate(step: int) -> Mapping[str, float]:
        return {"row_f1": 0.5}

    with pytest.raises(TrainError, match="has no metric 'item_f1'"):
        await loop(tmp_path, config(evaluate_every=1), evaluate=evaluate).fit(toy_tasks())


async def test_a_step_that_changes_nothing_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alike = Fixed(make_scored(value=0.5), make_scored(value=0.5))
    summary = await loop(tmp_path, config(steps=1), rollouts=alike).fit(toy_tasks())
    assert summary.updates == 0
    assert "the weights stay as they are: of 12 samples 12 without gradient" in caplog.text


async def test_time_can_end_a_run(tmp_path: Path) -> None:
    summary = await loop(tmp_path, config(steps=1000, max_seconds=1e-6)).fit(toy_tasks())
    assert summary.steps == 1


async def test_a_run_needs_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tasks"):
        await loop(tmp_path, config()).fit([])


async def test_a_longer_run_resumes_where_the_shorter_one_ended(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    await loop(whole, config(steps=5)).fit(toy_tasks())
    await loop(parts, config(steps=3)).fit(toy_tasks())
    await loop(parts, config(steps=5)).fit(toy_tasks())
    assert [line["update/loss"] for line in lines(parts)] == [
        line["update/loss"] for line in lines(whole)
    ]


async def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = await loop(tmp_path, config(steps=2)).fit(toy_tasks())
    again = await loop(tmp_path, config(steps=2)).fit(toy_tasks())
    assert (again.steps, again.checkpoint) == (2, first.checkpoint)
    assert len(lines(tmp_path)) == 2


async def test_other_tasks_or_another_config_are_refused(tmp_path: Path) -> None:
    await loop(tmp_path, config(steps=2)).fit(toy_tasks())
    with pytest.raises(CheckpointError, match="belongs to a run on other tasks"):
        await loop(tmp_path, config()).fit(toy_tasks(3, 9))
    with pytest.raises(ConfigError, match=r"rl_config\.json: group_size was 8, is "):
        await loop(tmp_path, config(group_size=4)).fit(toy_tasks())


async def test_a_run_resumes_from_an_older_checkpoint_if_the_newest_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    await loop(whole, config(steps=6)).fit(toy_tasks())
    await loop(damaged, config(steps=4)).fit(toy_tasks())
    weights = damaged / "checkpoints" / "step_000004" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    await loop(damaged, config(steps=6)).fit(toy_tasks())
    assert "model.safetensors: damaged" in caplog.text
    assert "resuming from the older checkpoint" in caplog.text
    assert [line["update/loss"] for line in lines(damaged)] == [
        line["update/loss"] for line in lines(whole)
    ]


async def test_a_run_whose_checkpoints_are_all_damaged_is_refused(tmp_path: Path) -> None:
    await loop(tmp_path, config(steps=4)).fit(toy_tasks())
    for path in (tmp_path / "checkpoints").glob("step_*"):
        (path / "state.json").write_text("{}", "utf-8")
    with pytest.raises(CheckpointError, match=r"state\.json: damaged"):
        await loop(tmp_path, config(steps=6)).fit(toy_tasks())


async def test_two_loops_in_one_folder_are_refused(tmp_path: Path) -> None:
    sampling, done = asyncio.Event(), asyncio.Event()

    class Waiting(Fixed):
        async def collect(self, tasks: Sequence[Task], step: int) -> list[list[ScoredEpisode]]:
            sampling.set()
            await done.wait()
            return await super().collect(tasks, step)

    source = Waiting(make_scored(), make_scored())
    first = asyncio.create_task(loop(tmp_path, config(steps=1), rollouts=source).fit(toy_tasks()))
    await sampling.wait()
    with pytest.raises(ConfigError, match="another process is writing"):
        await loop(tmp_path, config(steps=1)).fit(toy_tasks())
    done.set()
    assert (await first).steps == 1


async def test_a_run_that_waited_for_ever_may_resume_with_deadlines(tmp_path: Path) -> None:
    await loop(tmp_path, config(steps=1)).fit(toy_tasks())
    limits = {"rollout_deadline_s": 60.0, "group_deadline_s": 90.0, "on_duplicates": "warn"}
    changed = config(steps=2).model_copy(update=limits)
    assert (await loop(tmp_path, changed).fit(toy_tasks())).steps == 2


async def test_another_trainer_config_is_refused_but_for_its_resumable_keys(tmp_path: Path) -> None:
    await loop(tmp_path, config(steps=1)).fit(toy_tasks())
    other = TRAINER.model_copy(
        update={
            "threads": 1,
            "max_batch_tokens": 99,
            "attention": "packed",
            "max_logits": 99,
            "keep_gathered": True,
        }
    )
    await loop(tmp_path, config(steps=1), trainer_config=other).fit(toy_tasks())
    other = TRAINER.model_copy(update={"updates_per_step": 2})
    with pytest.raises(ConfigError, match=r"trainer\.updates_per_step was 1, is 2"):
        await loop(tmp_path, config(steps=1), trainer_config=other).fit(toy_tasks())


@pytest.mark.parametrize(
    ("keys", "config"),
    [
        (TorchTrainerConfig.RESUMABLE_KEYS, TorchTrainerConfig),
        (NemoAlignerConfig.RESUMABLE_KEYS, NemoAlignerConfig),
        (RESUMABLE_KEYS, RLConfig),
    ],
)
def test_resumable_keys_are_settings(keys: frozenset[str], config: type[BaseModel]) -> None:
    assert keys <= set(config.model_fields)


def engine() -> TorchEngine:
    return TorchEngine(tiny_model(), BuiltinEngineConfig(context_tokens=64, max_cache_tokens=256))


async def test_an_engine_samples_with_the_new_weights(tmp_path: Path) -> None:
    trainer, sampler = InThread(TorchTrainer(tiny_model(), TRAINER)), engine()
    parts: Any = {"trainer": trainer, "sync": sampler.sync(trainer)}
    await loop(tmp_path, config(steps=2), **parts).fit(toy_tasks())
    made = await sampler.generate([1, 5], session="a", sampling=Sampling(max_tokens=4))
    trained = dict(trainer.weights.tensors())
    assert (sampler.version, made.version) == (2, 2)
    assert all(torch.equal(value, trained[k]) for k, value in sampler.model.state_dict().items())


async def test_an_engine_keeps_its_version_where_nothing_was_updated(tmp_path: Path) -> None:
    trainer, sampler = InThread(TorchTrainer(tiny_model(), TRAINER)), engine()
    parts: Any = {"trainer": trainer, "sync": sampler.sync(trainer)}
    equal = Fixed(make_scored(), make_scored())
    await loop(tmp_path, config(steps=2), rollouts=equal, **parts).fit(toy_tasks())
    assert sampler.version == 0


async def test_a_resumed_engine_has_the_version_of_its_weights(tmp_path: Path) -> None:
    await loop(tmp_path, config(steps=2)).fit(toy_tasks())
    trainer, sampler = InThread(TorchTrainer(tiny_model(), TRAINER)), engine()
    parts: Any = {"trainer": trainer, "sync": sampler.sync(trainer)}
    await loop(tmp_path, config(steps=2), **parts).fit(toy_tasks())
    assert sampler.version == 2


class Slow:
    """A trainer whose update and save take as long as a test wants, in the thread they get."""

    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        self.weights: Any = None
        self.intact = True

    def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        self._wait()
        return UpdateMetrics(updates=1, samples=len(samples))

    def save(self, folder: Path) -> None:
        self._wait()

    def load(self, folder: Path) -> None:
        raise AssertionError("nothing to load")

    def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    def _wait(self) -> None:
        self.started.set()
        assert self.go_on.wait(60)
        self.go_on.clear()


async def test_agents_take_turns_while_weights_are_updated_and_saved(tmp_path: Path) -> None:
    slow, sampler = Slow(), engine()
    differing = Fixed(make_scored(value=0.1), make_scored(value=0.9))
    run = loop(tmp_path, config(steps=1), trainer=InThread(slow), rollouts=differing)
    running = asyncio.create_task(run.fit(toy_tasks()))
    for _ in ("update", "save"):
        await asyncio.to_thread(slow.started.wait, 60)
        slow.started.clear()
        for turn in range(3):  # would never end if the event loop were blocked
            sampling = Sampling(max_tokens=4)
            await sampler.generate([1, 5], session=f"agent {turn}", sampling=sampling)
        assert not running.done()
        slow.go_on.set()
    assert (await running).updates == 1


async def test_a_cancelled_run_waits_for_the_update_under_way(tmp_path: Path) -> None:
    slow = Slow()
    differing = Fixed(make_scored(value=0.1), make_scored(value=0.9))
    run = loop(tmp_path, config(steps=1), trainer=InThread(slow), rollouts=differing)
    running = asyncio.create_task(run.fit(toy_tasks()))
    await asyncio.to_thread(slow.started.wait, 60)
    running.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running


def odd(**changes: Any) -> ScoredEpisode:
    """A rollout of reward 0.9 whose turn has these fields."""
    return make_scored(make_agent(replace(make_turn(), **changes)), value=0.8)


@pytest.mark.parametrize(
    ("scored", "counted"),
    [
        (make_scored(value=math.nan), "dropped/reward"),
        (make_scored(value=math.inf), "dropped/reward"),
        (odd(response_ids=(), logprobs=(), response_tokens=0), "masked/turns"),
        (odd(logprobs=(-0.5,)), "masked/turns"),
        (odd(prompt_ids=()), "masked/turns"),
        (odd(response_ids=(-1, 3)), "masked/turns"),
        (odd(response_ids=(1 << 31, 3)), "masked/turns"),
        (odd(logprobs=(math.nan, -0.5)), "masked/tokens"),
        (odd(logprobs=(-math.inf, -0.5)), "masked/tokens"),
        (make_scored(Trajectory(agent=0, role="lead", status=Status.FINISHED, turns=())), ""),
    ],
)
async def test_an_odd_rollout_is_counted_and_the_rest_trains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scored: ScoredEpisode, counted: str
) -> None:
    good = [make_scored(value=value, trial=trial) for trial, value in enumerate((0.1, 0.9))]
    await loop(tmp_path, config(steps=4), rollouts=Fixed(*good, scored)).fit(toy_tasks())
    reported = lines(tmp_path)
    assert [line["update/updates"] for line in reported] == [1, 1, 1, 1]
    assert all(math.isfinite(v) for line in reported for v in line.values() if v is not None)
    if counted:
        assert [line[counted] for line in reported] == [6, 6, 6, 6]
        assert counted.rpartition("/")[2] in caplog.text


@pytest.mark.parametrize("reaction", ["end", "warn"])
async def test_a_group_of_copies_is_noticed(
    tmp_path: Path, reaction: str, caplog: pytest.LogCaptureFixture
) -> None:
    turn = make_turn((1,), [2, 3] * 8, logprob=-2.0)
    source = Fixed(*(make_scored(make_agent(turn)) for _ in range(4)))
    settings = config(steps=1, on_duplicates=reaction)
    training = loop(tmp_path, settings, rollouts=source)
    problem = "the rollouts of a prompt are not independent: 36 of 36 pairs"
    if reaction == "end":
        with pytest.raises(TrainError, match=problem):
            await training.fit(toy_tasks())
        return
    assert (await training.fit(toy_tasks())).steps == 1
    assert problem in caplog.text
    assert lines(tmp_path)[0]["groups/equal_responses"] == 36
    assert lines(tmp_path)[0]["groups/equal_responses_expected"] < 1e-6
