"""The evaluation apps: any policy on any tasks over any world, resumable, with a report."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from wideseek_agents import Team, TeamConfig
from wideseek_apps.checks import check_data, check_judge_policy, check_team
from wideseek_apps.judging import open_reachable_judge
from wideseek_apps.launch import show_settings, working
from wideseek_apps.policy import HelperPolicy, open_helper, open_model
from wideseek_apps.profiles import language_warnings
from wideseek_apps.team import TeamsConfig, shares_model, team_of
from wideseek_core import Config, Episode, Judge, PolicyError, Task
from wideseek_core.config import USAGE, load_arguments
from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_core.progress import show
from wideseek_data import AtlasData
from wideseek_eval import (
    DataConfig,
    RunConfig,
    Summary,
    load_run,
    load_tasks,
    report_text,
    run_evaluation,
    run_sweep,
    sweep_page,
    sweep_text,
    write_report,
)
from wideseek_judge import JudgeConfig

logger = logging.getLogger(__name__)


class SweepConfig(Config):
    """Values to evaluate in turn. At most one of the lists may be given."""

    max_subagents: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Width: maximum number of subagents that the lead may start in one turn; 0 is the single
    agent."""
    max_turns: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Depth: maximum number of turns of each agent."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.max_subagents and self.max_turns:
            raise ValueError("give max_subagents or max_turns, not both")
        values = self.max_subagents or self.max_turns
        if len(set(values)) < len(values):
            raise ValueError("give each value once")
        return self


class EvaluationConfig(TeamsConfig):
    """Everything about one evaluation."""

    judge: JudgeConfig = JudgeConfig()
    judge_policy: HelperPolicy | None = None
    """A model that judges in place of `judge.endpoint`; `kind: rollout` is that of `policy` itself.
    Only for `judge.kind: llm`."""
    data: DataConfig = AtlasData(split="test")
    run: RunConfig = RunConfig(max_concurrent=32)
    sweep: SweepConfig = SweepConfig()


class WideSearchConfig(EvaluationConfig):
    """Wide questions; by default the test split of the atlas."""

    data: DataConfig = AtlasData(split="test", limit=200)
    run: RunConfig = RunConfig(folder=Path("runs/widesearch"), max_concurrent=32)


class QaConfig(EvaluationConfig):
    """Questions with short answers; by default the test split of the atlas."""

    data: DataConfig = AtlasData(split="test", questions="qa", limit=200)
    run: RunConfig = RunConfig(folder=Path("runs/qa"), max_concurrent=32)


C = TypeVar("C", bound=EvaluationConfig)


def run_command(cls: type[C], arguments: Sequence[str], program: str) -> None:
    """What the commands of evaluation do: read, check, evaluate, show."""
    loaded = load_arguments(cls, arguments, usage=f"{program} {USAGE}")
    check_evaluation(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    with working():
        text = asyncio.run(evaluate(loaded.config))
    show(text)


def check_evaluation(config: EvaluationConfig) -> None:
    """Raises `ConfigError` for what can be seen to be wrong before any work."""
    check_team(config)
    check_judge_policy(config.judge, config.judge_policy)
    given = "world" in config.model_fields_set
    check_data("data", config.data, config.world, world_given=given)


async def evaluate(config: EvaluationConfig) -> str:
    """Runs, or resumes, an evaluation or a sweep; returns what to show."""
    tasks = load_tasks(config.data)
    for language in sorted({task.language for task in tasks}):
        models = {"policy": config.policy, "subagent_policy": config.subagent_policy}
        for warning in language_warnings(models, language):
            logger.warning("%s", warning)
    if config.sweep.max_subagents or config.sweep.max_turns:
        return await _sweep(config, tasks)
    await _run(config, tasks)
    report = write_report(config.run.folder)
    page = config.run.folder / "report.html"
    return f"{report_text(report)}\nWritten to {config.run.folder}; the report: {page}"


async def _run(config: EvaluationConfig, tasks: list[Task]) -> Summary:
    shared = shares_model(config.summarizer) or shares_model(config.judge_policy)
    async with (
        open_model(config.policy, with_greedy=shared) as model,
        team_of(config, model) as team,
        open_helper(config.judge_policy, model.greedy) as judging,
        open_reachable_judge(config.judge, judging) as judge,
    ):
        summary = await _rollouts(config, tasks, team, judge)
    results = load_run(config.run.folder).results
    if all(result.outcome == "error" for result in results):
        raise PolicyError(
            f"of {counted(len(results), 'rollout')} all broke: {results[-1].episode.error}"
        )
    return summary


async def _rollouts(
    config: EvaluationConfig, tasks: list[Task], team: Team, judge: Judge
) -> Summary:
    async def answer(task: Task, trial: int) -> Episode:
        return await team.run(task, trial, seed=trial)

    # In how many processes a model is sampled may change when a run is resumed.
    policies = ("policy", "subagent_policy", "summarizer", "judge_policy")
    free: dict[str, Any] = {name: {"engine": {"processes"}} for name in policies}
    settings = config.model_dump(
        mode="json", exclude={"run": True, "sweep": True, "data": True, **free}
    )
    return await run_evaluation(config.run, tasks, answer, judge, settings=settings)


async def _sweep(config: EvaluationConfig, tasks: list[Task]) -> str:
    width = config.sweep.max_subagents

    async def at(value: int) -> Summary:
        team = wider(config.team, value) if width else deeper(config.team, value)
        folder = config.run.folder / f"{'subagents' if width else 'turns'}_{value}"
        run = config.run.model_copy(update={"folder": folder})
        return await _run(config.model_copy(update={"team": team, "run": run}), tasks)

    name = "max_subagents" if width else "max_turns"
    sweep = await run_sweep(name, width or config.sweep.max_turns, at)
    page = config.run.folder / "sweep.html"
    write_atomically(page, sweep_page(sweep))
    write_atomically(config.run.folder / "sweep.json", sweep.model_dump_json(indent=1) + "\n")
    return f"{sweep_text(sweep)}\nWritten to {config.run.folder}; the curve: {page}"


def wider(team: TeamConfig, subagents: int) -> TeamConfig:
    """The team with another limit of subagents per lead turn; without any, the single agent."""
    if subagents == 0:
        return team.model_copy(update={"workflow": "single_agent"})
    limits = {"requests_per_call": subagents, "requests_per_turn": subagents}
    lead = team.lead.model_copy(update=limits)
    return team.model_copy(update={"workflow": "multi_agent", "lead": lead})


def deeper(team: TeamConfig, turns: int) -> TeamConfig:
    """The team with another limit of turns for every agent."""
    roles = ("lead", "subagent", "single")
    return team.model_copy(
        update={role: getattr(team, role).model_copy(update={"max_turns": turns}) for role in roles}
    )
