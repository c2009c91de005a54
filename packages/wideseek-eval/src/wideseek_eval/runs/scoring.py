"""Scores of stored response files: in memory, or as a run like any other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from wideseek_core import ConfigError, Episode, Judge, Task
from wideseek_core.counting import counted
from wideseek_core.tasks import Record
from wideseek_eval.datasets.config import JsonlData, WideSearchData
from wideseek_eval.datasets.open import load_tasks
from wideseek_eval.runs.evaluation import RunConfig, run_evaluation
from wideseek_eval.runs.responses import Replay, read_responses, replay
from wideseek_eval.runs.results import Result
from wideseek_eval.runs.rollouts import Job, Pace, run_jobs
from wideseek_eval.statistics.official import official_summary
from wideseek_eval.statistics.summary import Summary, summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFiles:
    """Where tasks, references and responses are."""

    tasks: Path
    responses: Path
    gold: Path | None = None
    """Folder of gold CSV tables; None if the tasks hold their answers."""
    expect: int | None = None
    """How many tasks there must be."""
    missing_as_empty: bool = False
    """Score a task without a response as an empty answer, as the official script does; otherwise
    it has no score."""


class Scored(Record):
    """Every score of some responses, and what they come to."""

    version: Literal[1] = 1
    settings: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Of the judge, as they were asked for."""
    summary: Summary
    official: dict[str, dict[str, dict[str, float]]]
    unknown: tuple[str, ...] = ()
    """Instances among the responses that no task asks for."""
    missing: tuple[str, ...] = ()
    """Tasks without any response."""
    results: tuple[Result, ...]


def read_files(files: ResponseFiles) -> tuple[list[Task], Replay]:
    """The tasks, and their stored answers. Raises `DataError`."""
    if files.gold is not None:
        config = WideSearchData(path=files.tasks, gold=files.gold, expect=files.expect)
        tasks = load_tasks(config)
    else:
        tasks = load_tasks(JsonlData(path=files.tasks))
        if files.expect is not None and len(tasks) != files.expect:
            raise ConfigError(f"{files.tasks}: {counted(len(tasks), 'task')}, not {files.expect}")
    responses = read_responses(files.responses)
    return tasks, replay(responses, tasks, missing_as_empty=files.missing_as_empty)


async def score_responses(
    files: ResponseFiles,
    judge: Judge,
    settings: Mapping[str, JsonValue] | None = None,
    max_concurrent: int = 8,
) -> Scored:
    """Judges every response, in memory."""
    tasks, stored = read_files(files)
    results: list[Result] = []

    def keep(result: Result, _: Episode | None) -> None:
        results.append(result)

    jobs = [Job(task=task, trial=trial) for task in tasks for trial in range(stored.trials)]
    pace = Pace(max_concurrent=max_concurrent, give_up_after=0)
    await run_jobs(jobs, stored.run_episode, judge, keep, pace)
    order = {task.id: index for index, task in enumerate(tasks)}
    results.sort(key=lambda one: (order[one.task_id], one.trial))
    return Scored(
        settings=dict(settings or {}),
        summary=summarize(results),
        official=official_summary(results),
        unknown=stored.unknown,
        missing=stored.missing,
        results=tuple(results),
    )


async def import_responses(
    files: ResponseFiles,
    judge: Judge,
    folder: Path,
    settings: Mapping[str, JsonValue],
    max_concurrent: int = 8,
) -> Summary:
    """Makes a run of the responses, which reports, comparisons and regradings then read."""
    tasks, stored = read_files(files)
    config = RunConfig(
        folder=folder, trials=stored.trials, max_concurrent=max_concurrent, give_up_after=0
    )
    return await run_evaluation(config, tasks, stored.run_episode, judge, settings=settings)
