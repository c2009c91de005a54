"""The training app: evaluate, train by multi-agent RL, evaluate again, and say what changed."""

import json
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wideseek_agents import Team, TeamConfig
from wideseek_agents.profile import ModelProfile, taught_settings, write_profile
from wideseek_apps.checks import check_apart
from wideseek_apps.evaluation_folders import LaterEvaluations, set_aside
from wideseek_apps.judging import open_reachable_judge
from wideseek_apps.local_model import LocalModel, open_local
from wideseek_apps.policy import open_helper, open_policy
from wideseek_apps.processes import RunProcesses, open_processes
from wideseek_apps.profiles import profile_of
from wideseek_apps.training_config import TrainConfig
from wideseek_apps.world import open_world
from wideseek_core import ConfigError, Episode, Judge, Policy, Task
from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_core.progress import ProgressBar
from wideseek_core.runs import plain, sole_writer
from wideseek_eval import (
    Result,
    RunConfig,
    comparison_text,
    load_run,
    load_tasks,
    run_evaluation,
)
from wideseek_eval.statistics.compare import Comparison, compare
from wideseek_eval.statistics.summary import METRICS, TABLE_METRICS, TEXT_METRICS, summarize
from wideseek_rl import (
    LoggedRun,
    MetricLogger,
    ProgressLogger,
    Rollouts,
    TokenLogger,
    TrainingLoop,
    TrainSummary,
    open_loggers,
    open_trainer,
)
from wideseek_rl.loop.restarts import with_restarts
from wideseek_tools.open import Tools

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup:
    """What rollouts need, opened."""

    processes: RunProcesses
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models beside the one in training."""

    role: Literal["lead", "subagent"] | None
    """The role that `fixed` plays."""
    fixed: Policy | None
    summarizer: Policy | None

    def team(self, config: TeamConfig, trained: Policy, tools: Tools) -> Team:
        """The team in which the model in training plays all roles but the fixed one."""
        lead, subagent = trained, trained
        if self.fixed is not None:
            lead = self.fixed if self.role == "lead" else trained
            subagent = self.fixed if self.role == "subagent" else trained
        return Team(
            config,
            lead,
            tools.search,
            tools.pages,
            subagent_policy=subagent,
            summarizer=self.summarizer,
            fixed_roles=() if self.role is None else (self.role,),
        )


@asynccontextmanager
async def open_setup(config: TrainConfig) -> AsyncGenerator[TrainingSetup]:
    """Model, tools, teams and judge of a configuration, and the processes that it places."""
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(open_processes(config))
        config = processes.config
        tools = await stack.enter_async_context(open_world(config.world))
        opened = open_local(config.policy, processes.engines)
        local = await stack.enter_async_context(opened)
        greedy = local.policy(0.0)
        judging = await stack.enter_async_context(open_helper(config.judge_policy, greedy))
        judge = await stack.enter_async_context(open_reachable_judge(config.judge, judging))
        fixed = config.fixed_role
        second = None if fixed is None else open_policy(fixed.policy)
        models = Models(
            role=None if fixed is None else fixed.role,
            fixed=None if second is None else await stack.enter_async_context(second),
            summarizer=await stack.enter_async_context(open_helper(config.summarizer, greedy)),
        )
        temperatures = (config.policy.temperature, config.evaluation.temperature)
        teams = [
            models.team(config.team, local.policy(temperature), tools)
            for temperature in temperatures
        ]
        yield TrainingSetup(
            processes=processes, local=local, teams=(teams[0], teams[1]), judge=judge
        )


SHAPING = {"policy", "fixed_role", "summarizer", "world", "team", "judge", "judge_policy"}
"""The settings that answers and scores depend on."""
SHOWN = ("item_f1", "row_f1", "success", "correct", "format_valid", "subagents")
"""The metrics of the table that compares before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training run changed."""

    comparison: Comparison
    """Before and after on the held-out tasks."""
    training: TrainSummary
    seconds: float
    """Wall clock of this process, evaluations included."""


async def train(config: TrainConfig) -> Outcome:
    """Runs the whole job, or resumes it, and returns what it changed."""
    started = time.monotonic()
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    check_apart(tasks, held_out, "evaluation.data")
    validation = load_validation(config, tasks)
    with sole_writer(config.folder):
        # Opened before the first evaluation: a logger whose package is missing is reported now.
        settings = plain(config)
        run = LoggedRun(folder=config.folder, settings=settings)
        loggers = open_loggers(config.rl.loggers, run, episodes=config.rl.log_episodes)
        async with open_setup(config) as setup:
            write_atomically(config.folder / "config.json", json.dumps(settings, indent=1) + "\n")
            logger.info("%s to train on, %d held out", counted(len(tasks), "task"), len(held_out))
            evaluations = Evaluations(
                config=config, setup=setup, held_out=held_out, validation=validation
            )
            training = await fit(config, setup, tasks, evaluations, loggers)
    before, after = (load_run(config.folder / name).results for name in ("before", "after"))
    comparison = compare(before, after, metrics=SHOWN)
    write_atomically(config.folder / "change.json", comparison.model_dump_json(indent=1) + "\n")
    return Outcome(comparison=comparison, training=training, seconds=time.monotonic() - started)


def load_validation(config: TrainConfig, tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """The tasks of each set that is measured during training; none if nothing is."""
    if not config.rl.evaluate_every:
        return {}
    sets = {name: load_tasks(data) for name, data in config.evaluation.validation_sets.items()}
    for name, held_out in sets.items():
        check_apart(tasks, held_out, f"evaluation.validation.{name}")
    check_measured(config.rl.checkpoint.best_metric, sets)
    return sets


def check_measured(best_metric: str | None, sets: Mapping[str, Sequence[Task]]) -> None:
    """Raises `ConfigError` if no set that a metric is of has questions which it is of."""
    place, _, metric = (best_metric or "").rpartition("/")
    meant = [tasks for name, tasks in sets.items() if place in ("", name)]
    kinds = {task.gold.kind for tasks in meant for task in tasks}
    known = [name for name in METRICS if _kind_of(name) in (None, *kinds)]
    if best_metric is not None and metric not in known:
        raise ConfigError(
            f"rl.checkpoint.best_metric={best_metric}: the questions that are measured have "
            f"only {', '.join(known)}"
        )


def _kind_of(metric: str) -> str | None:
    """The kind of reference that a metric is for; None for all."""
    return "table" if metric in TABLE_METRICS else "text" if metric in TEXT_METRICS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """What is measured while a policy trains, for its loggers."""

    config: TrainConfig
    setup: TrainingSetup
    held_out: Sequence[Task]
    validation: Mapping[str, Sequence[Task]]

    async def baseline(self, step: int) -> dict[str, float]:
        """The metrics of the held-out tasks before the first step."""
        return _means(await measure(self.config, "before", step, self.held_out, self.setup))

    async def validate(self, step: int) -> dict[str, float]:
        """The metrics of every validation set after so many steps, as `SET/METRIC`."""
        metrics: dict[str, float] = {}
        for name, tasks in self.validation.items():
            folder = f"validation/{name}/step_{step:06d}"
            results = await measure(self.config, folder, step, tasks, self.setup)
            metrics |= {f"{name}/{metric}": mean for metric, mean in _means(results).items()}
        return metrics

    async def final(self, step: int) -> dict[str, float]:
        """The metrics of the held-out tasks after the last step."""
        return _means(await measure(self.config, "after", step, self.held_out, self.setup))


def _means(results: Sequence[Result]) -> dict[str, float]:
    summary = summarize(results)
    return {name: summary.mean(name).mean for name in summary.overall.metrics}


async def measure(
    config: TrainConfig, name: str, step: int, tasks: Sequence[Task], setup: TrainingSetup
) -> tuple[Result, ...]:
    """Evaluates the policy as it is now, after so many steps, into the run's folder."""
    folder = config.folder / name
    set_aside(folder, step)
    run = RunConfig(
        folder=folder,
        trials=config.evaluation.trials,
        max_concurrent=config.rl.max_concurrent_rollouts,
    )
    shaping = config.model_dump(mode="json", include=SHAPING)
    shaping["policy"] = {
        key: value for key, value in shaping["policy"].items() if key not in ("device", "engine")
    }
    settings = {**shaping, "temperature": config.evaluation.temperature, "step": step}
    await run_evaluation(run, tasks, setup.answer, setup.judge, settings=settings)
    return tuple(load_run(folder).results)


async def fit(
    config: TrainConfig,
    setup: TrainingSetup,
    tasks: list[Task],
    evaluations: Evaluations,
    loggers: Sequence[MetricLogger],
) -> TrainSummary:
    """The training itself."""
    rl, local, processes = config.rl, setup.local, setup.processes
    rollouts = Rollouts(
        setup.sample,
        setup.judge,
        group_size=rl.group_size,
        max_concurrent=rl.max_concurrent_rollouts,
        seed=rl.seed,
        rollout_deadline_s=rl.rollout_deadline_s,
        group_deadline_s=rl.group_deadline_s,
    )
    settings, profile = processes.config.trainer, trained_profile(config)
    # Servers that run already may have any weights of the model's shape.
    attached = processes.engines is not None and bool(processes.engines.base_urls)

    async def attempt(repeated: bool) -> TrainSummary:
        opened = open_trainer(settings, rl.loss, local.model, processes.trainer)
        with ProgressBar("training", rl.steps) as bar:
            async with opened as trainer:
                loop = TrainingLoop(
                    rl,
                    trainer,
                    rollouts,
                    folder=config.folder,
                    sync=local.engine.sync(trainer),
                    evaluate=evaluations.validate if evaluations.validation else None,
                    baseline=evaluations.baseline,
                    final=evaluations.final,
                    loggers=[
                        LaterEvaluations(config.folder),
                        *loggers,
                        *_token_logger(config, local),
                        ProgressLogger(bar),
                    ],
                    trainer_config=settings,
                    publish_start=repeated or attached,
                    complete=lambda saved: write_profiles(profile, saved),
                )
                return await loop.fit(tasks)

    return await with_restarts(attempt, processes.max_restarts)


def trained_profile(config: TrainConfig) -> ModelProfile:
    """How a model is used that is trained so."""
    known = profile_of(config.policy)
    return ModelProfile(
        languages=() if known is None else known.languages,
        team=taught_settings(config.team),
        window=config.policy.window,
        turn_tokens=config.policy.turn_tokens,
    )


def write_profiles(profile: ModelProfile, checkpoint: Path) -> None:
    """Says beside the weights of a checkpoint, merged and adapters, how they were trained to work.

    So they are used as they were trained, whichever of them is asked for.
    """
    for folder in (checkpoint / "model", checkpoint / "adapter"):
        if folder.is_dir():
            write_profile(folder, profile)


def _token_logger(config: TrainConfig, local: LocalModel) -> list[MetricLogger]:
    rollouts = config.rl.log_tokens
    texts = local.tokenizer.token_texts
    return [TokenLogger(config.folder / "tokens", rollouts, texts)] if rollouts else []


def outcome_text(config: TrainConfig, outcome: Outcome) -> str:
    """The result for a person."""
    training = outcome.training
    lines = [
        comparison_text(outcome.comparison, "before", "after"),
        f"{counted(training.steps, 'step')}, {training.seconds:.0f} s of training; "
        f"this process took {outcome.seconds:.0f} s.",
        *_ending(config, training),
        f"Written to {config.folder}: {', '.join(_written(config.folder))}.",
        f"To look at: wideseek report {config.folder}, wideseek view {config.folder}",
        f"The policy: {training.checkpoint}",
        f"Next: wideseek widesearch policy.model={training.checkpoint}",
    ]
    return "\n".join(lines)


PARTS = ("metrics.jsonl", "episodes/", "tokens/", "tensorboard/", "validation/", "logs/")
"""What a run writes beside `before/` and `after/`, according to its settings."""


def _written(folder: Path) -> Iterator[str]:
    """The files and folders of a run that are there."""
    return (part for part in (*PARTS, "before/", "after/") if (folder / part).exists())


def _ending(config: TrainConfig, training: TrainSummary) -> Iterator[str]:
    """Why there were fewer steps than asked for."""
    if training.stopped:
        yield f"Training was stopped by rl.stop after step {training.steps}: {training.stopped}."
        return
    steps, seconds = config.rl.steps, config.rl.max_seconds
    if seconds is not None and steps is not None and training.steps < steps:
        yield f"Training ended at rl.max_seconds={seconds:g}, before rl.steps={steps}."
