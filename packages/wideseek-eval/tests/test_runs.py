import asyncio
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from wideseek_core import (
    ConfigError,
    DataError,
    Episode,
    Finish,
    JudgeError,
    PolicyUnavailable,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
    Trajectory,
    Turn,
)
from wideseek_core.code_version import code_version
from wideseek_core.episode_records import read_episodes
from wideseek_core.runs import sole_writer
from wideseek_eval import (
    Result,
    RunConfig,
    evaluate,
    load_run,
    regrade,
    run_evaluation,
    write_report,
)

GOLD = TableGold(text="| a |\n| - |\n| 1 |", key_columns=("a",), required_columns=("a",))
TASKS = [Task(id=f"t{index}", question=f"question {index}", gold=GOLD) for index in range(4)]


class CountingTeam:
    """Answers with the task's number as text, and counts rollouts."""

    def __init__(self, broken: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.broken = broken

    async def __call__(self, task: Task, trial: int) -> Episode:
        self.asked[task.id, trial] += 1
        await asyncio.sleep(0)
        if (task.id, trial) in self.broken:
            raise PolicyUnavailable("endpoint is down")
        answer = f"0.{task.id[1:]}"
        lead = Trajectory(
            agent=0, role="lead", status=Status.FINISHED, turns=(), prompt=task.question
        )
        return Episode(task_id=task.id, trial=trial, trajectories=(lead,), answer=answer)


class NumberJudge:
    """Takes the answer for its item F1; gives no verdict on the answers of `silent`."""

    def __init__(self, silent: str = "") -> None:
        self.silent = silent
        self.calls = 0

    async def score(self, task: Task, answer: str) -> Score:
        self.calls += 1
        if task.id == self.silent:
            return Score(state=ScoreState.UNSCORED, metrics=TableMetrics(), message="no verdict")
        metrics = TableMetrics(item_f1=float(answer))
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


class MissingJudge:
    async def score(self, task: Task, answer: str) -> Score:
        raise JudgeError("no such endpoint")


def keys(results: tuple[Result, ...]) -> list[tuple[str, int]]:
    return [(result.task_id, result.trial) for result in results]


async def test_evaluate_in_memory_gives_the_mean_over_questions() -> None:
    summary = await evaluate(TASKS, CountingTeam(), NumberJudge(), trials=2, max_concurrent=3)
    assert summary.item_f1.mean == pytest.approx((0.0 + 0.1 + 0.2 + 0.3) / 4)
    assert summary.item_f1.questions == 4
    assert summary.overall.counts.scored == 8
    assert summary.format_rate.mean == 1.0


async def test_a_finished_run_holds_each_rollout_once(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path / "run", trials=2, max_concurrent=3)
    await run_evaluation(config, TASKS, CountingTeam(), NumberJudge())
    run = load_run(tmp_path / "run")
    assert keys(run.results) == [(f"t{index}", trial) for index in range(4) for trial in range(2)]
    assert len(list(read_episodes(tmp_path / "run" / "episodes.jsonl"))) == 8


async def test_a_resumed_run_repeats_nothing(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    first = await run_evaluation(config, TASKS, CountingTeam(), NumberJudge())
    team, judge = CountingTeam(), NumberJudge()
    assert await run_evaluation(config, TASKS, team, judge) == first
    assert not team.asked
    assert judge.calls == 0


async def test_a_resumed_run_may_ask_for_more_trials_but_not_fewer(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, CountingTeam(), NumberJudge())
    team = CountingTeam()
    await run_evaluation(RunConfig(folder=tmp_path, trials=2), TASKS, team, NumberJudge())
    assert sorted(team.asked) == [(f"t{index}", 1) for index in range(4)]
    with pytest.raises(ConfigError, match="trials was 2"):
        await run_evaluation(RunConfig(folder=tmp_path), TASKS, team, NumberJudge())


async def test_a_torn_last_line_is_dropped_and_its_rollout_done_again(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, CountingTeam(), NumberJudge())
    results = tmp_path / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    assert len(load_run(tmp_path).results) == 3
    team = CountingTeam()
    summary = await run_evaluation(RunConfig(folder=tmp_path), TASKS, team, NumberJudge())
    assert sum(team.asked.values()) == 1
    assert summary.overall.counts.scored == 4


async def test_a_rollout_that_broke_is_an_error_and_done_again_on_resume(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    broken = CountingTeam(frozenset({("t3", 0)}))
    summary = await run_evaluation(config, TASKS, broken, NumberJudge())
    assert summary.overall.counts.error == 1
    assert summary.item_f1.mean == pytest.approx(0.1)
    kept = RunConfig(folder=tmp_path, retry_errors=False)
    assert (await run_evaluation(kept, TASKS, broken, NumberJudge())).overall.counts.error == 1
    team = CountingTeam()
    summary = await run_evaluation(config, TASKS, team, NumberJudge())
    assert team.asked == {("t3", 0): 1}
    assert summary.overall.counts.error == 0
    assert summary.item_f1.mean == pytest.approx(0.15)


async def test_an_unscored_answer_is_judged_again_without_a_new_rollout(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    summary = await run_evaluation(config, TASKS, CountingTeam(), NumberJudge(silent="t3"))
    assert summary.overall.counts.unscored == 1
    assert summary.item_f1.mean == pytest.approx(0.1)
    team = CountingTeam()
    summary = await run_evaluation(config, TASKS, team, NumberJudge())
    assert not team.asked
    assert summary.item_f1.mean == pytest.approx(0.15)


async def test_a_judge_that_can_not_score_stops_the_run_but_the_answer_stays(
    tmp_path: Path,
) -> None:
    config = RunConfig(folder=tmp_path, max_concurrent=1)
    with pytest.raises(JudgeError, match="no such endpoint"):
        await run_evaluation(config, TASKS, CountingTeam(), MissingJudge())
    (kept,) = load_run(tmp_path).results
    assert (kept.outcome, kept.answer) == ("unscored", "0.0")


async def test_a_run_whose_rollouts_all_break_stops(tmp_path: Path) -> None:
    team = CountingTeam(frozenset((task.id, trial) for task in TASKS for trial in range(9)))
    config = RunConfig(folder=tmp_path, trials=9, max_concurrent=2, give_up_after=5)
    with pytest.raises(PolicyUnavailable, match=r"of the first 5 rollouts all broke: .*is down"):
        await run_evaluation(config, TASKS, team, NumberJudge())


async def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    team, judge = CountingTeam(), NumberJudge()
    await run_evaluation(config, TASKS, team, judge, settings={"team": {"turns": 10}})
    with pytest.raises(ConfigError, match=r"team\.turns was 10, is 12"):
        await run_evaluation(config, TASKS, team, judge, settings={"team": {"turns": 12}})


async def test_other_tasks_are_refused(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    await run_evaluation(config, TASKS, CountingTeam(), NumberJudge())
    with pytest.raises(ConfigError, match="other tasks"):
        await run_evaluation(config, TASKS[:3], CountingTeam(), NumberJudge())


async def test_two_writers_in_one_folder_are_refused(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(ConfigError, match="another process"):
        await run_evaluation(RunConfig(folder=tmp_path), TASKS, CountingTeam(), NumberJudge())


async def test_a_malformed_result_names_its_line(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, CountingTeam(), NumberJudge())
    results = tmp_path / "results.jsonl"
    lines = results.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {"colour": "red"})
    results.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"results\.jsonl:2: colour"):
        load_run(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run"):
        load_run(tmp_path)


async def test_a_run_is_resumed_although_its_server_moved(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path / "run")

    def settings(port: int, model: str) -> dict[str, JsonValue]:
        policy: dict[str, JsonValue] = {
            "base_url": f"http://127.0.0.1:{port}/v1",
            "max_concurrent": port,
            "model": model,
        }
        return {"policy": policy, "judge": {"endpoint": {"deadline_s": port}}}

    team = CountingTeam()
    await run_evaluation(config, TASKS, team, NumberJudge(), settings=settings(1, "m"))
    await run_evaluation(config, TASKS, team, NumberJudge(), settings=settings(2, "m"))
    assert team.asked.total() == 4
    with pytest.raises(ConfigError, match=r'config\.json: policy\.model was "m", is "n"'):
        await run_evaluation(config, TASKS, team, NumberJudge(), settings=settings(2, "n"))


async def test_a_run_records_when_it_began_and_every_code_it_was_run_with(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path)
    await run_evaluation(config, TASKS[:2], CountingTeam(), NumberJudge())
    header = load_run(tmp_path).header
    assert header is not None
    began = datetime.fromisoformat(f"{header.started}+00:00")
    assert abs(datetime.now(UTC) - began) < timedelta(minutes=5)
    assert header.code == (code_version(),)
    path = tmp_path / "config.json"
    earlier = {"started": "2026-01-02 03:04:05", "code": ["0.0.9"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | earlier))
    await run_evaluation(config, TASKS[:2], CountingTeam(), NumberJudge())
    await regrade(tmp_path, NumberJudge(), name="again", settings={"judge": {"kind": "exact"}})
    for grading in ("", "again"):
        header = load_run(tmp_path, grading).header
        assert header is not None
        assert header.started == "2026-01-02 03:04:05"
        assert header.code == ("0.0.9", code_version())
        assert header.settings == ({"judge": {"kind": "exact"}} if grading else {})


class Overflowing:
    """Answers with a complete table, but as an agent that failed."""

    async def __call__(self, task: Task, trial: int) -> Episode:
        turn = Turn(text="<think>x</think>0.9", finish=Finish.LENGTH)
        lead = Trajectory(agent=0, role="lead", status=Status.CONTEXT_OVERFLOW, turns=(turn,))
        return Episode(task_id=task.id, trial=trial, trajectories=(lead,), answer="0.9")


async def test_the_answer_of_a_failed_agent_counts_as_zero(tmp_path: Path) -> None:
    summary = await run_evaluation(
        RunConfig(folder=tmp_path), TASKS[:1], Overflowing(), NumberJudge()
    )
    assert (summary.item_f1.mean, summary.overall.counts.failed) == (0.0, 1)
    (result,) = load_run(tmp_path).results
    assert result.score is not None
    assert result.score.message == "the agent failed: context_overflow"
    again = await regrade(tmp_path, NumberJudge(), name="again")
    assert (again.item_f1.mean, again.overall.counts.failed) == (0.0, 1)


async def test_text_that_a_file_cannot_hold_ends_no_run(tmp_path: Path) -> None:
    task = TASKS[1].model_copy(update={"id": "t\ud83d", "question": "what \ud83d?"})

    async def answer(task: Task, trial: int) -> Episode:
        return Episode(task_id=task.id, trial=trial, trajectories=(), answer="0.5 \ud83d")

    class Judge:
        async def score(self, task: Task, answer: str) -> Score:
            metrics = TableMetrics(item_f1=0.5)
            return Score(state=ScoreState.SCORED, metrics=metrics, message=f"said {answer}")

    settings: dict[str, JsonValue] = {"model": "m\ud83d"}
    summary = await run_evaluation(
        RunConfig(folder=tmp_path), [task], answer, Judge(), settings=settings
    )
    assert summary.item_f1.mean == 0.5
    (result,) = load_run(tmp_path).results
    assert (result.task_id, result.answer) == ("t\ufffd", "0.5 \ufffd")
    write_report(tmp_path)
    assert "what \ufffd?" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_a_score_that_is_no_number_leaves_the_answer_unscored(
    tmp_path: Path, value: float
) -> None:
    class Judge:
        async def score(self, task: Task, answer: str) -> Score:
            return Score(state=ScoreState.SCORED, metrics=TableMetrics(item_f1=value))

    summary = await run_evaluation(RunConfig(folder=tmp_path), TASKS[:2], CountingTeam(), Judge())
    assert summary.overall.counts.unscored == 2
    assert summary.overall.reasons == {"unscored": {"the judge's score is not a number": 2}}
    assert len(load_run(tmp_path).results) == 2
