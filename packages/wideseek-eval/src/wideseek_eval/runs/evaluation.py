"""Evaluations on disk: each rollout is written as it ends, and a killed run is resumed.

A rollout exists once its line in `results.jsonl` is complete. What was under way when the process
died is done again; what had ended is never repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, JsonValue

from wideseek_core import Config, ConfigError, Episode, Judge, Task
from wideseek_core.episode_records import Keep, episode_record
from wideseek_core.files import append_line, drop_torn_line
from wideseek_core.garbage import rare_garbage_collection
from wideseek_core.progress import ProgressBar
from wideseek_core.runs import sole_writer
from wideseek_eval.runs.folder import Key, RunFolder, begin_run, load_run, read_results
from wideseek_eval.runs.live_metrics import LiveMetrics
from wideseek_eval.runs.results import Result, RunEpisode
from wideseek_eval.runs.rollouts import Job, Pace, run_jobs
from wideseek_eval.statistics.summary import Summary, summarize


class RunConfig(Config):
    """How an evaluation runs, and where it is written. May change when a run is resumed."""

    folder: Path = Path("runs/evaluation")
    """Where results go; a run that is there is resumed."""
    trials: int = Field(default=1, ge=1)
    """Rollouts per question. A resumed run may ask for more, not for fewer."""
    max_concurrent: int = Field(default=8, ge=1)
    """Maximum number of rollouts at a time."""
    keep_episodes: Keep = "text"
    """Whether `episodes.jsonl` is written, and whether with token ids."""
    retry_errors: bool = True
    """On resume, do rollouts again that could not be completed."""
    rejudge_unscored: bool = True
    """On resume, ask the judge again about answers it gave no verdict on."""
    give_up_after: int = Field(default=32, ge=0)
    """Stop when this many rollouts broke and none came through; 0 never stops."""


async def run_evaluation(
    config: RunConfig,
    tasks: Sequence[Task],
    run_episode: RunEpisode,
    judge: Judge,
    *,
    settings: Mapping[str, JsonValue] | None = None,
) -> Summary:
    """Runs, or resumes, an evaluation in `config.folder` and sums it up.

    `settings` is everything that shapes answers and scores (the resolved configuration without
    this one); a resumed run must share it. Raises `ConfigError` naming the setting that differs,
    or if another process is writing to the folder.
    """
    folder = RunFolder(path=config.folder)
    with sole_writer(folder.path), rare_garbage_collection():
        begin_run(folder, tasks, settings or {})
        for path in (folder.results, folder.episodes):
            drop_torn_line(path)
        done = read_results(folder.results)
        _check_trials(config, done)
        jobs = jobs_left(config, tasks, done)
        with ProgressBar("evaluating", len(tasks) * config.trials) as bar:
            writer = _Writer(folder, config.keep_episodes, bar)
            writer.skip(done, jobs)
            pace = Pace(max_concurrent=config.max_concurrent, give_up_after=config.give_up_after)
            await run_jobs(jobs, run_episode, judge, writer.write, pace)
    return summarize(load_run(folder.path).results)


def jobs_left(config: RunConfig, tasks: Sequence[Task], done: Mapping[Key, Result]) -> list[Job]:
    """What is still to do: every question once before any is asked a second time."""
    jobs: list[Job] = []
    for trial in range(config.trials):
        for task in tasks:
            result = done.get((task.id, trial))
            if result is None or (result.outcome == "error" and config.retry_errors):
                jobs.append(Job(task=task, trial=trial))
            elif result.outcome == "unscored" and config.rejudge_unscored:
                jobs.append(Job(task=task, trial=trial, stored=result))
    return jobs


def _check_trials(config: RunConfig, done: Iterable[Key]) -> None:
    trials = max((trial + 1 for _, trial in done), default=0)
    if trials > config.trials:
        raise ConfigError(f"run.trials was {trials} in {config.folder}, is {config.trials}")


class _Writer:
    """Puts each rollout on disk and moves the bar."""

    def __init__(self, folder: RunFolder, keep: Keep, bar: ProgressBar) -> None:
        self._folder, self._bar = folder, bar
        self._keep: Keep = keep
        self._live = LiveMetrics()

    def skip(self, done: Mapping[Key, Result], jobs: Iterable[Job]) -> None:
        """Counts what an earlier process left behind."""
        again = {(job.task.id, job.trial) for job in jobs}
        finished = [result for key, result in done.items() if key not in again]
        for result in finished:
            self._live.add(result, new=False)
        if finished:
            self._bar.advance(len(finished), self._live.metrics())

    def write(self, result: Result, episode: Episode | None) -> None:
        """The episode first: a rollout counts once its result is there."""
        if episode is not None and self._keep != "none":
            record = episode_record(episode, tokens=self._keep == "full")
            append_line(self._folder.episodes, record)
        append_line(self._folder.results, result)
        self._live.add(result)
        self._bar.advance(1, self._live.metrics())
