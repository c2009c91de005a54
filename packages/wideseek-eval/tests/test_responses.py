import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import (
    ConfigError,
    DataError,
    Episode,
    Finish,
    PolicyError,
    Score,
    ScoreState,
    Status,
    Task,
    TextGold,
    TextMetrics,
    ToolResult,
    Trajectory,
    Turn,
)
from wideseek_eval import RunConfig, load_run, run_evaluation
from wideseek_eval.runs.regrade import regrade
from wideseek_eval.runs.responses import Response, export_responses, read_responses, replay
from wideseek_eval.runs.scoring import ResponseFiles, import_responses, score_responses

TASKS = [Task(id=name, question=f"{name}?", gold=TextGold(answers=(name,))) for name in "abc"]


class EqualJudge:
    """Right if the answer is the reference; silent on the answer `silent`."""

    def __init__(self, silent: str = "-") -> None:
        self.silent = silent
        self.asked: list[str] = []

    async def score(self, task: Task, answer: str) -> Score:
        assert isinstance(task.gold, TextGold)
        self.asked.append(answer)
        right = float(answer in task.gold.answers)
        state = ScoreState.UNSCORED if answer == self.silent else ScoreState.SCORED
        return Score(state=state, metrics=TextMetrics(correct=right), format_valid=True)


class StrictJudge:
    """Nothing is right."""

    async def score(self, task: Task, answer: str) -> Score:
        return Score(state=ScoreState.SCORED, metrics=TextMetrics(), format_valid=True)


def response(name: str, text: str | None, trial: int | None) -> dict[str, Any]:
    return {"instance_id": name, "response": text, "messages": [], "trial_idx": trial}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def task_file(path: Path) -> Path:
    rows = [{"id": task.id, "question": task.question, "answer": task.id} for task in TASKS]
    return write(path / "tasks.jsonl", *rows)


async def answered(task: Task, trial: int) -> Episode:
    turns = (
        Turn(text="let me look", finish=Finish.STOP, results=(ToolResult(request="q", text="r"),)),
        Turn(text="a", finish=Finish.STOP, prompt_ids=(1, 2), response_ids=(3,), logprobs=(0.0,)),
    )
    lead = Trajectory(
        agent=0, role="lead", status=Status.FINISHED, turns=turns, prompt=task.question, answer="a"
    )
    return Episode(task_id=task.id, trial=trial, trajectories=(lead,), answer="a")


def test_responses_of_a_folder_are_read_in_the_order_of_trials(tmp_path: Path) -> None:
    write(tmp_path / "m_a_1_response.jsonl", response("a", "second", 1))
    write(tmp_path / "m_a_0_response.jsonl", response("a", "first", 0))
    write(tmp_path / "m_b_0_response.jsonl", response("b", None, None))
    found = read_responses(tmp_path)
    assert [one.response for one in found["a"]] == ["first", "second"]
    assert found["b"][0].response is None


def test_a_malformed_or_repeated_response_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", response("a", "x", 0), {"response": "x"})
    with pytest.raises(DataError, match=r"r\.jsonl:2: instance_id: field required"):
        read_responses(path)
    write(path, response("a", "x", 0), response("a", "y", 0))
    with pytest.raises(DataError, match=r"r\.jsonl:2: trial 0 of 'a' is at .*r\.jsonl:1"):
        read_responses(path)


async def test_response_files_are_scored_and_missing_ones_counted(tmp_path: Path) -> None:
    rows = [response("a", "a", 0), response("a", "b", 1), response("b", "b", 0)]
    path = write(tmp_path / "r.jsonl", *rows, response("zzz", "x", 0))
    files = ResponseFiles(tasks=task_file(tmp_path), responses=path)
    scored = await score_responses(files, EqualJudge())
    assert scored.summary.correct.mean == pytest.approx((0.5 + 1.0) / 2)
    assert scored.summary.overall.counts.error == 3
    assert scored.unknown == ("zzz",)
    assert [(one.task_id, one.trial) for one in scored.results][:3] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
    ]


async def test_responses_to_other_tasks_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", response("zzz", "x", 0))
    with pytest.raises(DataError, match="no response belongs"):
        await score_responses(
            ResponseFiles(tasks=task_file(tmp_path), responses=path), EqualJudge()
        )


async def test_what_is_exported_can_be_imported_as_the_same_run(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path / "run", trials=2)
    first = await run_evaluation(config, TASKS, answered, EqualJudge())
    assert export_responses(tmp_path / "run", tmp_path / "out") == 6
    files = ResponseFiles(tasks=task_file(tmp_path), responses=tmp_path / "out")
    again = await import_responses(files, EqualJudge(), tmp_path / "copy", {})
    assert (again.correct, again.overall.counts) == (first.correct, first.overall.counts)
    line = json.loads((tmp_path / "out" / "wideseek_a_1_response.jsonl").read_text())
    assert (line["instance_id"], line["trial_idx"], line["response"]) == ("a", 1, "a")
    assert [one["role"] for one in line["messages"]] == ["user", "assistant", "tool", "assistant"]


async def test_an_export_to_one_file_holds_every_rollout(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path / "run", keep_episodes="none")
    await run_evaluation(config, TASKS, answered, EqualJudge())
    export_responses(tmp_path / "run", tmp_path / "all.jsonl")
    assert sorted(read_responses(tmp_path / "all.jsonl")) == ["a", "b", "c"]


async def test_episodes_are_kept_without_ids_unless_wanted_whole(tmp_path: Path) -> None:
    for keep, ids in (("text", []), ("full", [1, 2])):
        config = RunConfig.model_validate({"folder": tmp_path / keep, "keep_episodes": keep})
        await run_evaluation(config, TASKS, answered, EqualJudge())
        line = (tmp_path / keep / "episodes.jsonl").read_text().splitlines()[0]
        assert (
            json.loads(line)["episode"]["trajectories"][0]["turns"][1].get("prompt_ids", []) == ids
        )


async def test_a_regrading_has_its_own_file_and_leaves_the_run_alone(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, answered, EqualJudge())
    summary = await regrade(tmp_path, StrictJudge(), name="strict")
    assert summary.correct.mean == 0.0
    assert load_run(tmp_path).results[0].score != load_run(tmp_path, "strict").results[0].score
    assert load_run(tmp_path, "strict").results[0].answer == "a"


async def test_a_regrading_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path, trials=2), TASKS, answered, EqualJudge())
    await regrade(tmp_path, EqualJudge(), name="again")
    path = tmp_path / "results.again.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:9])
    judge = EqualJudge()
    await regrade(tmp_path, judge, name="again")
    assert len(judge.asked) == 2
    assert load_run(tmp_path, "again").results == load_run(tmp_path).results


async def test_a_regrading_asks_again_where_there_was_no_verdict(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, answered, EqualJudge())
    summary = await regrade(tmp_path, EqualJudge(silent="a"), name="again")
    assert summary.overall.counts.unscored == 3
    assert (await regrade(tmp_path, EqualJudge(), name="again")).overall.counts.scored == 3


async def test_a_regrading_with_another_judge_or_an_odd_name_is_refused(tmp_path: Path) -> None:
    await run_evaluation(RunConfig(folder=tmp_path), TASKS, answered, EqualJudge())
    await regrade(tmp_path, EqualJudge(), name="again", settings={"judge": "exact"})
    with pytest.raises(ConfigError, match='judge was "exact", is "llm"'):
        await regrade(tmp_path, EqualJudge(), name="again", settings={"judge": "llm"})
    with pytest.raises(ConfigError, match="letters, digits"):
        await regrade(tmp_path, EqualJudge(), name="../up")
    with pytest.raises(DataError, match="no regrading 'never'"):
        load_run(tmp_path, "never")


def test_what_a_response_does_not_need_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    lines: list[dict[str, Any]] = [
        {"instance_id": 7, "response": "a", "messages": "none", "trial_idx": 1},
        {"instance_id": "7", "response": "b \ud83d", "messages": [1], "more": {}, "trial_idx": 0},
        {"instance_id": "8", "response": None, "messages": None},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_responses(path)
    assert [one.response for one in found["7"]] == ["b \ufffd", "a"]
    assert found["8"][0].response is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"instance_id": true, "response": "a"}', "instance_id: "),
        ('{"instance_id": 1.5, "response": "a"}', "instance_id: "),
        ('{"instance_id": "a"}', "response: field required"),
        ('{"instance_id": "a", "response": 5}', "response: "),
        ('{"instance_id": "a", "response": "a", "trial_idx": -1}', "trial_idx: "),
        ('{"instance_id": "a", "response": ' + "1" * 6000 + "}", "not JSON: a number has too many"),
        ("[" * 100_000, "not JSON: nested too deep"),
    ],
    ids=str,
)
def test_a_bad_response_is_named_by_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"instance_id": "x", "response": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=rf"r\.jsonl:2: {problem}"):
        read_responses(path)


def test_responses_are_exported_to_a_pipe_as_one_file(tmp_path: Path) -> None:
    config = RunConfig(folder=tmp_path / "run")
    asyncio.run(run_evaluation(config, TASKS, answered, EqualJudge()))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert export_responses(tmp_path / "run", pipe) == 3
        text = reader.communicate(timeout=120)[0]
    assert len(text.splitlines()) == 3


async def test_a_task_without_a_response_is_broken_or_empty() -> None:
    async def ask(*, missing_as_empty: bool) -> Episode:
        stored = {"a": [Response(instance_id="a", response="a")]}
        return await replay(stored, TASKS, missing_as_empty=missing_as_empty).run_episode(
            TASKS[1], 0
        )

    assert (await ask(missing_as_empty=True)).answer == ""
    with pytest.raises(PolicyError, match="no such response"):
        await ask(missing_as_empty=False)
