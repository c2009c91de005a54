"""The training app: evaluate, train by multi-agent RL, evaluate again, and say what changed."""

import logging
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_agents import AgentConfig, LeadConfig, SingleConfig, Team, TeamConfig
from wideseek_apps.policy import LocalModel, LocalPolicy, open_local
from wideseek_apps.start_policy import StartConfig
from wideseek_apps.world import AtlasWorld, WorldConfig, open_world
from wideseek_core import Config, ConfigError, Episode, Judge, Task
from wideseek_core.files import write_atomically
from wideseek_core.progress import ProgressBar
from wideseek_core.runs import sole_writer
from wideseek_data import AtlasData
from wideseek_eval import (
    DataConfig,
    Result,
    RunConfig,
    load_run,
    load_tasks,
    run_evaluation,
)
from wideseek_eval.runs.folder import RunFolder, read_header
from wideseek_eval.statistics.compare import Comparison, compare
from wideseek_judge import JudgeConfig, open_judge
from wideseek_rl import (
    CheckpointConfig,
    GroupRelativeConfig,
    OptimizerConfig,
    RLConfig,
    Rollouts,
    TorchTrainer,
    TorchTrainerConfig,
    TrainingLoop,
    TrainSummary,
    open_loggers,
)
from wideseek_rl.loop.loggers import ProgressLogger

logger = logging.getLogger(__name__)

ATLAS_TEAM = TeamConfig(
    prompts="compact",
    lead=LeadConfig(max_turns=6),
    subagent=AgentConfig(max_turns=6),
    single=SingleConfig(max_turns=40),
    calls="reference",
)
"""How the start policy was taught to work."""


def small_tables(split: Literal["train", "dev"]) -> AtlasData:
    """What some sixty steps on two cores can learn from: listed groups of a few members."""
    return AtlasData(split=split, shapes=("group",), min_rows=2, max_rows=6, max_columns=3)


class EvaluationConfig(Config):
    """How progress is measured: before the first step and after the last, on the same tasks."""

    data: DataConfig = small_tables("dev")
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    trials: int = Field(default=1, ge=1)
    """Rollouts of each task."""


class TrainConfig(Config):
    """Everything about one training run. The defaults train the start policy on a laptop."""

    folder: Path = Path("runs/train")
    """Where the run is written; one that was interrupted goes on from there."""
    start: StartConfig | None = None
    """If given, a start policy is made, and nothing else is done."""
    policy: LocalPolicy = LocalPolicy(turn_tokens=320)
    world: WorldConfig = AtlasWorld()
    team: TeamConfig = ATLAS_TEAM
    judge: JudgeConfig = JudgeConfig(mode="reward")
    data: DataConfig = small_tables("train")
    """What is trained on."""
    evaluation: EvaluationConfig = EvaluationConfig()
    rl: RLConfig = RLConfig(
        prompts_per_step=6,
        group_size=6,
        steps=60,
        max_seconds=600,
        max_concurrent_rollouts=64,
        # `outcome` would blame a failed rollout's last turn alone: a single agent, which fails
        # often and long after its first bad call, lost by it.
        algorithm=GroupRelativeConfig(credit="table", selection="all"),
        backend=TorchTrainerConfig(
            optimizer=OptimizerConfig(lr=1e-4, weight_decay=0.0, grad_clip=0.3, warmup_updates=2),
            max_batch_tokens=2048,
            autocast="bfloat16",
            min_nll=0.3,
        ),
        checkpoint=CheckpointConfig(every_steps=10, best_metric=None),
    )

    @model_validator(mode="after")
    def _trains_what_it_samples(self) -> Self:
        if self.policy.temperature <= 0:
            raise ValueError("policy.temperature must be above 0 to train: greedy groups are alike")
        if self.rl.backend.loss.temperature != self.policy.temperature:
            raise ValueError(
                f"rl.backend.loss.temperature is {self.rl.backend.loss.temperature}, "
                f"policy.temperature is {self.policy.temperature}: they must be equal"
            )
        if self.policy.top_p < 1 and not self.rl.backend.recompute_logprobs:
            raise ValueError(
                "policy.top_p below 1 renormalises what the sampler reports: to train so, set "
                "rl.backend.recompute_logprobs=true"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What rollouts need, opened."""

    local: LocalModel
    teams: tuple[Team, Team]
    """At the sampling temperature of training, and at that of evaluation."""
    judge: Judge

    async def sample(self, task: Task, trial: int, seed: int) -> Episode:
        """One rollout to learn from."""
        return await self.teams[0].run(task, trial, seed)

    async def answer(self, task: Task, trial: int) -> Episode:
        """One rollout to measure."""
        return await self.teams[1].run(task, trial, seed=trial)


@asynccontextmanager
async def open_bench(config: TrainConfig) -> AsyncGenerator[Bench]:
    """Model, tools, teams and judge of a configuration."""
    async with AsyncExitStack() as stack:
        tools = await stack.enter_async_context(open_world(config.world))
        local = await stack.enter_async_context(open_local(config.policy))
        judge = await stack.enter_async_context(open_judge(config.judge))
        temperatures = (config.policy.temperature, config.evaluation.temperature)
        teams = [
            Team(config.team, local.policy(temperature), tools.search, tools.pages)
            for temperature in temperatures
        ]
        yield Bench(local=local, teams=(teams[0], teams[1]), judge=judge)


METRICS = ("item_f1", "row_f1", "success", "correct", "format_valid", "subagents")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training run changed."""

    comparison: Comparison
    """Before and after on the held-out tasks."""
    training: TrainSummary
    seconds: float
    """Wall clock of this process, evaluations included."""


async def train(config: TrainConfig) -> Outcome:
    """Runs the whole job, or goes on with it, and returns what it changed."""
    started = time.monotonic()
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    shared = {task.id for task in tasks} & {task.id for task in held_out}
    if shared:
        raise ConfigError(f"{len(shared)} tasks are in data and in evaluation.data")
    with sole_writer(config.folder):
        async with open_bench(config) as bench:
            write_atomically(config.folder / "config.json", config.model_dump_json(indent=1) + "\n")
            logger.info("%d tasks to train on, %d held out", len(tasks), len(held_out))
            before = await measure(config, "before", 0, held_out, bench)
            training = await fit(config, bench, tasks)
            after = await measure(config, "after", training.steps, held_out, bench)
    comparison = compare(before, after, metrics=METRICS)
    write_atomically(config.folder / "change.json", comparison.model_dump_json(indent=1) + "\n")
    return Outcome(comparison=comparison, training=training, seconds=time.monotonic() - started)


async def measure(
    config: TrainConfig, name: str, step: int, tasks: Sequence[Task], bench: Bench
) -> tuple[Result, ...]:
    """Evaluates the policy as it is now, after so many steps, into the run's folder."""
    folder = config.folder / name
    set_aside(folder, step)
    run = RunConfig(
        folder=folder,
        trials=config.evaluation.trials,
        max_concurrent=config.rl.max_concurrent_rollouts,
    )
    shaping = config.model_dump(mode="json", include={"policy", "world", "team", "judge"})
    shaping["policy"] = {
        key: value
        for key, value in shaping["policy"].items()
        if key not in ("device", "engine", "processes")
    }
    settings = {**shaping, "temperature": config.evaluation.temperature, "step": step}
    await run_evaluation(run, tasks, bench.answer, bench.judge, settings=settings)
    return tuple(load_run(folder).results)


def set_aside(folder: Path, step: int) -> None:
    """Renames an evaluation of another step: a run that trains further is measured anew."""
    header = RunFolder(path=folder).header
    if header.exists() and (other := read_header(header).settings.get("step")) != step:
        os.rename(folder, folder.with_name(f"{folder.name}_step_{other}"))


async def fit(config: TrainConfig, bench: Bench, tasks: list[Task]) -> TrainSummary:
    """The training itself."""
    rl, local = config.rl, bench.local
    backend = TorchTrainer(local.model, rl.backend, tokenizer_file=local.folder / "tokenizer.json")
    rollouts = Rollouts(
        bench.sample,
        bench.judge,
        group_size=rl.group_size,
        concurrent=rl.max_concurrent_rollouts,
        seed=rl.seed,
    )
    with ProgressBar("training", rl.steps) as bar:
        trainer = TrainingLoop(
            rl,
            backend,
            rollouts,
            folder=config.folder,
            sync=local.sync,
            loggers=[*open_loggers(rl.loggers, config.folder), ProgressLogger(bar)],
        )
        return await trainer.fit(tasks)
