"""What training and evaluation share about a rollout: how it fails, and what its answer scores."""

import logging
import math
from collections.abc import Awaitable

from wideseek_core.episodes import Episode, Status
from wideseek_core.errors import JudgeError, PolicyError, ToolError
from wideseek_core.scores import Judge, Score, ScoreState, TableMetrics, TextMetrics
from wideseek_core.tasks import Task
from wideseek_core.text import after_thinking

logger = logging.getLogger(__name__)


async def attempt(task: Task, trial: int, rollout: Awaitable[Episode]) -> Episode:
    """The episode of a rollout; if a service failed, an empty episode whose `error` says which."""
    try:
        return await rollout
    except (PolicyError, ToolError, JudgeError) as error:
        reason = f"{type(error).__name__}: {error}"
        logger.warning("%s, trial %d: %s", task.id, trial, reason)
        return broken_episode(task, trial, reason)


def broken_episode(task: Task, trial: int, error: str) -> Episode:
    """The episode of a rollout that broke before it left anything."""
    return Episode(task_id=task.id, trial=trial, trajectories=(), error=error)


async def score_episode(judge: Judge, task: Task, episode: Episode) -> Score:
    """The verdict on a rollout, see `score_answer`; one that broke is unscored.

    Of an agent that failed, the last text is judged. Raises `JudgeError` if nothing can be judged.
    """
    if episode.error:
        return unscored(task, episode.error)
    if not episode.trajectories:
        return await score_answer(judge, task, episode.answer, Status.FINISHED)
    main = episode.main
    if not main.status.failed:
        return await score_answer(judge, task, episode.answer, main.status)
    text = after_thinking(main.turns[-1].text) if main.turns else ""
    return await score_answer(judge, task, text, main.status)


async def score_answer(judge: Judge, task: Task, text: str, status: Status) -> Score:
    """The verdict on the final text of an agent that ended with `status`.

    - An agent that failed (full window, turn limit, ...) has no answer: all its metrics are 0.
      Whether its text has the form of an answer is still recorded, since that decides which of
      its turns train. Without a verdict on the form, the rollout is unscored.
    - A score that is not a number is no verdict.

    Raises `JudgeError` if nothing can be judged.
    """
    score = await judge.score(task, text)
    if not math.isfinite(score.value):
        return unscored(task, "the judge's score is not a number")
    return _without_answer(score, f"the agent failed: {status}") if status.failed else score


def _without_answer(form: Score, message: str) -> Score:
    if form.state is ScoreState.UNSCORED:
        return form
    return Score(
        state=ScoreState.FAILED,
        metrics=type(form.metrics)(),
        format_valid=form.format_valid,
        message=message,
        judge_calls=form.judge_calls,
        judge_usage=form.judge_usage,
    )


def unscored(task: Task, reason: str) -> Score:
    """The score of an answer on which there is no verdict."""
    metrics = TableMetrics() if task.gold.kind == "table" else TextMetrics()
    return Score(state=ScoreState.UNSCORED, metrics=metrics, message=reason)
