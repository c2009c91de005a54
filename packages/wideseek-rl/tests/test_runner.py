import asyncio
from dataclasses import replace

import pytest

from wideseek_core import (
    Episode,
    Judge,
    JudgeError,
    PolicyError,
    Score,
    ScoreState,
    Status,
    Task,
    TextGold,
    TextMetrics,
    Usage,
)
from wideseek_core.rollouts import unscored
from wideseek_core.testing import in_simulated_time
from wideseek_core.usage import report_usage
from wideseek_rl import (
    GroupRelativeConfig,
    RewardConfig,
    Rollouts,
    ScoredEpisode,
    build_step_batch,
    open_algorithm,
    open_reward,
)
from wideseek_rl.algorithm.selection import outcome_turns
from wideseek_rl.loop.metrics import rollout_metrics
from wideseek_rl.testing import make_agent, make_turn


def step_metrics(groups: list[list[ScoredEpisode]]) -> dict[str, float]:
    batch = build_step_batch(groups, open_algorithm(GroupRelativeConfig()))
    return rollout_metrics(groups, batch, version=0)


TASKS = [Task(id=name, question="?", gold=TextGold(answers=("x",))) for name in "abc"]


class YesJudge:
    async def score(self, task: Task, answer: str) -> Score:
        return Score(
            state=ScoreState.SCORED,
            metrics=TextMetrics(correct=1.0),
            format_valid=True,
            message=f"{task.id} {answer}",
        )


async def run_episode(task: Task, trial: int, seed: int) -> Episode:
    return Episode(task_id=task.id, trial=trial, trajectories=(make_agent(),), answer=str(seed))


async def test_groups_come_in_the_order_of_the_tasks() -> None:
    groups = await Rollouts(run_episode, YesJudge(), group_size=3).collect(TASKS, 0)
    shown = [[(s.episode.task_id, s.episode.trial) for s in group] for group in groups]
    assert shown == [[(task.id, trial) for trial in range(3)] for task in TASKS]
    assert all(s.score.message == f"{s.episode.task_id} {s.episode.answer}" for s in groups[0])


async def test_each_step_has_other_seeds_and_the_same_step_the_same() -> None:
    def answers(groups: list[list[ScoredEpisode]]) -> list[str]:
        return [s.episode.answer for group in groups for s in group]

    rollouts = Rollouts(run_episode, YesJudge(), group_size=2, seed=5)
    first, again = await rollouts.collect(TASKS, 1), await rollouts.collect(TASKS, 1)
    other = await rollouts.collect(TASKS, 2)
    assert answers(first) == answers(again)
    assert not set(answers(first)) & set(answers(other))


async def test_a_task_that_comes_twice_in_a_step_has_other_rollouts_each_time() -> None:
    groups = await Rollouts(run_episode, YesJudge(), group_size=2).collect([TASKS[0]] * 2, 0)
    assert [[s.episode.trial for s in group] for group in groups] == [[0, 1], [2, 3]]
    assert len({s.episode.answer for group in groups for s in group}) == 4


async def test_never_more_rollouts_run_than_allowed() -> None:
    running = most = 0

    async def counted(task: Task, trial: int, seed: int) -> Episode:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return await run_episode(task, trial, seed)

    await Rollouts(counted, YesJudge(), group_size=8, max_concurrent=5).collect(TASKS, 0)
    assert most == 5


async def test_a_policy_failure_is_recorded_and_its_siblings_go_on() -> None:
    async def fragile(task: Task, trial: int, seed: int) -> Episode:
        if trial == 1:
            raise PolicyError("endpoint gone")
        return await run_episode(task, trial, seed)

    heard: list[ScoredEpisode] = []
    rollouts = Rollouts(fragile, YesJudge(), group_size=3, on_scored=heard.append)
    ((first, broken, third),) = await rollouts.collect(TASKS[:1], 0)
    assert (first.usable, broken.usable, third.usable) == (True, False, True)
    assert broken.episode.error == "PolicyError: endpoint gone"
    assert len(heard) == 3


async def failed_lead(task: Task, trial: int, seed: int) -> Episode:
    turn = replace(make_turn(), text="<think>x</think> the text")
    lead = make_agent(turn, status=Status.TURN_LIMIT)
    return Episode(task_id=task.id, trial=trial, trajectories=(lead,))


async def test_of_a_failed_lead_only_the_form_of_its_text_is_judged() -> None:
    ((scored,),) = await Rollouts(failed_lead, YesJudge(), group_size=1).collect(TASKS[:1], 0)
    assert (scored.score.state, scored.score.value) == (ScoreState.FAILED, 0.0)
    assert (scored.score.format_valid, scored.answered) == (True, False)
    assert scored.score.message == "the agent failed: turn_limit"
    assert (open_reward(RewardConfig())(scored).value, outcome_turns(scored)) == (0.0, [[True]])


async def test_without_a_verdict_a_failed_lead_is_left_out_too() -> None:
    class Silent:
        async def score(self, task: Task, answer: str) -> Score:
            assert answer == "the text"
            return unscored(task, "endpoint gone")

    ((scored,),) = await Rollouts(failed_lead, Silent(), group_size=1).collect(TASKS[:1], 0)
    assert not scored.usable


async def test_a_judge_that_can_never_score_ends_the_step() -> None:
    class NoJudge:
        async def score(self, task: Task, answer: str) -> Score:
            raise JudgeError("no endpoint")

    judge: Judge = NoJudge()
    with pytest.raises(ExceptionGroup) as raised:
        await Rollouts(run_episode, judge, group_size=1).collect(TASKS, 0)
    assert raised.group_contains(JudgeError, match="no endpoint")


@in_simulated_time
async def test_a_rollout_that_misses_its_deadline_fails_and_its_siblings_do_not() -> None:
    async def slow_second(task: Task, trial: int, seed: int) -> Episode:
        await asyncio.sleep(60 if trial == 1 else 0)
        return await run_episode(task, trial, seed)

    rollouts = Rollouts(slow_second, YesJudge(), group_size=3, rollout_deadline_s=0.05)
    (group,) = await rollouts.collect(TASKS[:1], 0)
    assert [scored.usable for scored in group] == [True, False, True]
    assert group[1].episode.error == "the rollout missed its deadline"


@in_simulated_time
async def test_a_rollout_that_misses_its_deadline_keeps_what_it_has_spent() -> None:
    async def hanging(task: Task, trial: int, seed: int) -> Episode:
        spent = list[Usage]()
        report_usage(lambda: tuple(spent))
        spent.append(Usage(role="single", model="m", requests=1, response_tokens=7))
        await asyncio.sleep(60)
        raise AssertionError("nobody waits for it")

    rollouts = Rollouts(hanging, YesJudge(), group_size=1, rollout_deadline_s=0.05)
    ((scored,),) = await rollouts.collect(TASKS[:1], 0)
    assert scored.episode.usage == (Usage(role="single", model="m", requests=1, response_tokens=7),)
    metrics = step_metrics([[scored]])
    assert (metrics["tokens/generated"], metrics["tokens/unused"]) == (0, 7)


@in_simulated_time
async def test_a_group_has_a_deadline_from_the_beginning_of_its_first_rollout() -> None:
    async def slow(task: Task, trial: int, seed: int) -> Episode:
        await asyncio.sleep(60 if trial else 0)
        return await run_episode(task, trial, seed)

    rollouts = Rollouts(slow, YesJudge(), group_size=3, max_concurrent=1, group_deadline_s=0.05)
    groups = await rollouts.collect(TASKS[:2], 0)
    for group in groups:
        assert [scored.usable for scored in group] == [True, False, False]
