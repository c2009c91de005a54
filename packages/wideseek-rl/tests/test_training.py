import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import CheckpointError, ConfigError, DataError, ScoreState, Task, TrainError
from wideseek_rl import (
    CheckpointConfig,
    EngineConfig,
    EngineSync,
    LoggersConfig,
    OptimizerConfig,
    RLConfig,
    RolloutSource,
    ScoredEpisode,
    TorchEngine,
    TorchTrainer,
    TorchTrainerConfig,
    TrainingLoop,
    open_loggers,
    read_checkpoint,
)
from wideseek_rl.testing import make_scored, tiny_model
from wideseek_rl.toy import toy_rollouts, toy_tasks


def config(**changes: Any) -> RLConfig:
    base = RLConfig(
        prompts_per_step=6,
        group_size=8,
        steps=4,
        backend=TorchTrainerConfig(optimizer=OptimizerConfig(lr=3e-2, eps=1e-8)),
        checkpoint=CheckpointConfig(every_steps=2),
        loggers=LoggersConfig(tensorboard=False, episodes=False),
    )
    return base.model_copy(update=changes)


def trainer(folder: Path, config: RLConfig, **parts: Any) -> TrainingLoop:
    model = tiny_model()
    rollouts = parts.pop("rollouts", None) or toy_rollouts(model, group_size=config.group_size)
    return TrainingLoop(
        config,
        TorchTrainer(model, config.backend),
        rollouts,
        folder=folder,
        loggers=open_loggers(config.loggers, folder),
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
    summary = await trainer(tmp_path, config(steps=20)).fit(toy_tasks())
    scores = [line["score/mean"] for line in lines(tmp_path)]
    assert (summary.steps, summary.updates) == (20, 20)
    assert sum(scores[:3]) / 3 < 0.15
    assert sum(scores[-3:]) / 3 > 0.5


async def test_every_step_tells_its_figures_and_the_last_is_saved(tmp_path: Path) -> None:
    summary = await trainer(tmp_path, config(steps=3)).fit(toy_tasks())
    first = lines(tmp_path)[0]
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    assert first["update/mismatch"] == pytest.approx(0, abs=1e-5)
    assert first["update/tokens_trained"] + 3 * first["update/zero_advantage_samples"] == 6 * 8 * 3
    assert summary.checkpoint.name == "step_000003"
    assert read_checkpoint(summary.checkpoint).updates == 3


async def test_dropped_rollouts_never_train_as_zeros(tmp_path: Path) -> None:
    good = [make_scored(value=0.5, trial=trial) for trial in range(2)]
    unscored = make_scored(state=ScoreState.UNSCORED)
    broken = make_scored(error="gone")
    summary = await trainer(tmp_path, config(steps=1), rollouts=Fixed(*good, unscored, broken)).fit(
        toy_tasks()
    )
    (line,) = lines(tmp_path)
    assert (line["dropped/unscored"], line["dropped/error"]) == (6, 6)
    assert (line["update/updates"], line["update/zero_advantage_samples"]) == (0, 12)
    assert (summary.steps, summary.updates) == (1, 0)


async def test_steps_without_any_usable_rollout_end_the_run(tmp_path: Path) -> None:
    source: RolloutSource = Fixed(make_scored(error="gone"))
    with pytest.raises(TrainError, match="no rollout could be used in 3 steps"):
        await trainer(tmp_path, config(steps=9), rollouts=source).fit(toy_tasks())


async def test_the_best_checkpoint_is_the_one_that_evaluates_best(tmp_path: Path) -> None:
    values = {2: 0.3, 4: 0.6, 6: 0.5}

    async def evaluate(step: int) -> Mapping[str, float]:
        return {"item_f1": values[step]}

    summary = await trainer(tmp_path, config(steps=6, evaluate_every=2), evaluate=evaluate).fit(
        toy_tasks()
    )
    assert summary.best == 0.6
    assert read_checkpoint(tmp_path / "checkpoints" / "best").step == 4
    evaluated = [(o["step"], o["eval/item_f1"]) for o in lines(tmp_path) if "eval/item_f1" in o]
    assert evaluated == list(values.items())


async def test_an_evaluation_without_the_wanted_metric_is_an_error(tmp_path: Path) -> None:
    async def evaluate(step: int) -> Mapping[str, float]:
        return {"row_f1": 0.5}

    with pytest.raises(TrainError, match="gives no 'item_f1'"):
        await trainer(tmp_path, config(evaluate_every=1), evaluate=evaluate).fit(toy_tasks())


async def test_time_can_end_a_run(tmp_path: Path) -> None:
    summary = await trainer(tmp_path, config(steps=1000, max_seconds=1e-6)).fit(toy_tasks())
    assert summary.steps == 1


async def test_a_run_needs_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tasks"):
        await trainer(tmp_path, config()).fit([])


async def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    await trainer(whole, config(steps=5)).fit(toy_tasks())
    await trainer(parts, config(steps=3)).fit(toy_tasks())
    await trainer(parts, config(steps=5)).fit(toy_tasks())
    assert [line["update/loss"] for line in lines(parts)] == [
        line["update/loss"] for line in lines(whole)
    ]


async def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = await trainer(tmp_path, config(steps=2)).fit(toy_tasks())
    again = await trainer(tmp_path, config(steps=2)).fit(toy_tasks())
    assert (again.steps, again.checkpoint) == (2, first.checkpoint)
    assert len(lines(tmp_path)) == 2


async def test_other_tasks_or_another_config_are_refused(tmp_path: Path) -> None:
    await trainer(tmp_path, config(steps=2)).fit(toy_tasks())
    with pytest.raises(CheckpointError, match="belongs to a run on other tasks"):
        await trainer(tmp_path, config()).fit(toy_tasks(3, 9))
    with pytest.raises(ConfigError, match=r"rl_config\.json: group_size was 8, is "):
        await trainer(tmp_path, config(group_size=4)).fit(toy_tasks())


async def test_a_corrupt_checkpoint_stops_the_run_and_older_ones_are_not_taken(
    tmp_path: Path,
) -> None:
    await trainer(tmp_path, config(steps=4)).fit(toy_tasks())
    weights = tmp_path / "checkpoints" / "step_000004" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        await trainer(tmp_path, config(steps=6)).fit(toy_tasks())


async def test_an_engine_samples_with_the_new_weights(tmp_path: Path) -> None:
    model = tiny_model()
    engine = TorchEngine(model, EngineConfig(max_context=64, max_cache_tokens=256))
    run = config(steps=2)
    trainer = TrainingLoop(
        run,
        TorchTrainer(model, run.backend),
        toy_rollouts(model, group_size=8),
        folder=tmp_path,
        sync=EngineSync(engine),
    )
    await trainer.fit(toy_tasks())
    assert engine.version == 2


async def test_an_engine_keeps_its_version_where_nothing_was_updated(tmp_path: Path) -> None:
    model = tiny_model()
    engine = TorchEngine(model, EngineConfig(max_context=64, max_cache_tokens=256))
    flat = Fixed(make_scored(), make_scored())
    await trainer(tmp_path, config(steps=2), rollouts=flat, sync=EngineSync(engine)).fit(
        toy_tasks()
    )
    assert engine.version == 0


async def test_a_resumed_engine_has_the_version_of_its_weights(tmp_path: Path) -> None:
    await trainer(tmp_path, config(steps=2)).fit(toy_tasks())
    engine = TorchEngine(tiny_model(), EngineConfig(max_context=64, max_cache_tokens=256))
    await trainer(tmp_path, config(steps=2), sync=EngineSync(engine)).fit(toy_tasks())
    assert engine.version == 2
