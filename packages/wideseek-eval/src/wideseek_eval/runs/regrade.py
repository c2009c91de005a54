"""Judging stored answers again, with another judge or mode, into a file of their own."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from wideseek_core import ConfigError, Episode, Judge, PolicyError, Task
from wideseek_core.files import append_line, drop_torn_line
from wideseek_core.progress import ProgressBar
from wideseek_core.runs import sole_writer
from wideseek_eval.runs.folder import (
    GRADING_NAME,
    RunFolder,
    load_run,
    read_header,
    read_results,
    store_header,
)
from wideseek_eval.runs.live_metrics import LiveMetrics
from wideseek_eval.runs.results import Result
from wideseek_eval.runs.rollouts import Job, Pace, run_jobs
from wideseek_eval.statistics.summary import Summary, summarize


async def regrade(
    path: Path,
    judge: Judge,
    *,
    name: str,
    max_concurrent: int = 8,
    settings: Mapping[str, JsonValue] | None = None,
) -> Summary:
    """Judges every stored answer of a run again, into `results.NAME.jsonl`.

    A regrading that was killed is resumed; `settings` (of the judge) must then be the
    same. Rollouts that were never completed are carried over as they are.
    """
    if not GRADING_NAME.fullmatch(name):
        raise ConfigError(f"a regrading's name has letters, digits, - and _ only (got {name!r})")
    run = load_run(path)
    folder = RunFolder(path=path, grading=name)
    with sole_writer(path):
        tasks = read_header(RunFolder(path=path).header).tasks
        store_header(folder, settings or {}, tasks)
        drop_torn_line(folder.results)
        done = read_results(folder.results)
        judged = {key for key, result in done.items() if result.outcome != "unscored"}
        left = [result for result in run.results if (result.task_id, result.trial) not in judged]
        with ProgressBar("judging again", len(left)) as bar:
            live = LiveMetrics()

            def write(result: Result, _: Episode | None) -> None:
                append_line(folder.results, result)
                live.add(result)
                bar.advance(1, live.metrics())

            for result in (result for result in left if result.score is None):
                write(result, None)
            jobs = [
                Job(task=run.tasks[result.task_id], trial=result.trial, stored=result)
                for result in left
                if result.score is not None
            ]
            await run_jobs(jobs, _never, judge, write, Pace(max_concurrent=max_concurrent))
    return summarize(load_run(path, name).results)


async def _never(task: Task, trial: int) -> Episode:
    raise PolicyError(f"{task.id}, trial {trial}: a regrading does no rollouts")
