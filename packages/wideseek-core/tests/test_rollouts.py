import math
from dataclasses import replace

import pytest

from wideseek_core import (
    Episode,
    Finish,
    JudgeError,
    PolicyError,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
    TextGold,
    TextMetrics,
    ToolError,
    Trajectory,
    Turn,
)
from wideseek_core.rollouts import attempt, score_answer, score_episode

TASK = Task(id="t", question="q", gold=TextGold(answers=("Paris",)))
WIDE = TASK.model_copy(
    update={"gold": TableGold(text="", key_columns=("a",), required_columns=("a",))}
)


class Exact:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def score(self, task: Task, answer: str) -> Score:
        self.asked.append(answer)
        right = float(answer == "Paris")
        return Score(
            state=ScoreState.SCORED, metrics=TextMetrics(correct=right), format_valid=bool(answer)
        )


def make_episode(status: Status, text: str, answer: str) -> Episode:
    turn = Turn(text=text, finish=Finish.STOP)
    lead = Trajectory(agent=0, role="lead", status=status, turns=(turn,), answer=answer)
    return Episode(task_id="t", trial=0, trajectories=(lead,), answer=answer)


async def test_the_answer_of_an_agent_that_finished_is_judged() -> None:
    score = await score_episode(Exact(), TASK, make_episode(Status.FINISHED, "x", "Paris"))
    assert (score.state, score.value) == (ScoreState.SCORED, 1.0)


@pytest.mark.parametrize("status", [s for s in Status if s.failed])
async def test_an_agent_that_failed_scores_zero_whatever_it_wrote(status: Status) -> None:
    judge = Exact()
    score = await score_episode(judge, TASK, make_episode(status, "<think>a</think>Paris", ""))
    assert (score.state, score.value) == (ScoreState.FAILED, 0.0)
    assert (score.format_valid, score.message) == (True, f"the agent failed: {status}")
    assert judge.asked == ["Paris"]


async def test_a_stored_answer_of_a_failed_agent_scores_zero_too() -> None:
    score = await score_answer(Exact(), TASK, "Paris", Status.TURN_LIMIT)
    assert (score.state, score.value) == (ScoreState.FAILED, 0.0)


async def test_an_episode_of_an_answer_alone_is_judged() -> None:
    episode = Episode(task_id="t", trial=0, trajectories=(), answer="Paris")
    assert (await score_episode(Exact(), TASK, episode)).value == 1.0


async def test_a_broken_rollout_is_unscored_and_never_judged() -> None:
    judge = Exact()
    episode = replace(make_episode(Status.FINISHED, "Paris", "Paris"), error="endpoint gone")
    score = await score_episode(judge, WIDE, episode)
    assert (score.state, score.message) == (ScoreState.UNSCORED, "endpoint gone")
    assert isinstance(score.metrics, TableMetrics)
    assert judge.asked == []


async def test_a_score_that_is_not_a_number_is_no_verdict() -> None:
    class Broken:
        async def score(self, task: Task, answer: str) -> Score:
            return Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=math.nan))

    for status in (Status.FINISHED, Status.TURN_LIMIT):
        score = await score_episode(Broken(), TASK, make_episode(status, "a", "a"))
        assert score.state is ScoreState.UNSCORED
        assert score.value == 0.0


@pytest.mark.parametrize("error", [PolicyError("gone"), ToolError("down"), JudgeError("none")])
async def test_a_service_that_fails_leaves_an_episode_that_says_so(error: Exception) -> None:
    async def broken() -> Episode:
        raise error

    episode = await attempt(TASK, 3, broken())
    assert (episode.task_id, episode.trial, episode.trajectories) == ("t", 3, ())
    assert episode.error == f"{type(error).__name__}: {error}"


async def test_a_bug_in_a_rollout_rises() -> None:
    async def broken() -> Episode:
        raise KeyError("timezone")

    with pytest.raises(KeyError):
        await attempt(TASK, 0, broken())
