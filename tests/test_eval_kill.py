"""An evaluation that is killed again and again ends with the results of one that never was.

Run as a script, this file is the one that kills: it forks evaluations and ends them by SIGKILL.
Each begins a few rollouts and then waits, so that none comes to its end before it is killed.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from wideseek_core import (
    Episode,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
    Trajectory,
)
from wideseek_core.testing import wait_until
from wideseek_eval import RunConfig, load_run, run_evaluation, summarize
from wideseek_eval.runs.folder import read_results

KILLS = 20
ROLLOUTS_BEFORE_A_KILL = 14
"""Of 300: the evaluations that are killed do not come to the end of them."""
GOLD = TableGold(text="| a |\n| - |\n| 1 |", key_columns=("a",), required_columns=("a",))
TASKS = [Task(id=f"t{index}", question=f"question {index}", gold=GOLD) for index in range(75)]


left: list[int] = []
"""Rollouts that an evaluation may still begin; empty for one that is not killed."""


async def run_episode(task: Task, trial: int) -> Episode:
    if left:
        left[0] -= 1
        if left[0] < 0:
            await asyncio.Event().wait()
    chance = random.Random(f"{task.id} {trial}")
    await asyncio.sleep(chance.uniform(0, 0.02))
    lead = Trajectory(agent=0, role="lead", status=Status.FINISHED, turns=())
    answer = f"{chance.random():.6f}"
    return Episode(task_id=task.id, trial=trial, trajectories=(lead,), answer=answer)


class NumberJudge:
    async def score(self, task: Task, answer: str) -> Score:
        metrics = TableMetrics(item_f1=float(answer))
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


def evaluate(folder: Path) -> None:
    config = RunConfig(folder=folder, trials=4, max_concurrent=4)
    asyncio.run(run_evaluation(config, TASKS, run_episode, NumberJudge()))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def kill_again_and_again(folder: Path) -> int:
    """Forks evaluations and kills them; how many of them died by it."""
    chance = random.Random(os.getpid())
    results = folder / "results.jsonl"
    killed = 0
    for number in range(KILLS):
        before = _size(results)
        child = os.fork()
        if child == 0:
            left.append(ROLLOUTS_BEFORE_A_KILL)
            evaluate(folder)
            os._exit(0)
        # Half of the kills hit at any time of the start, half while results are written.
        if number % 2:
            wait_until(lambda before=before: _size(results) > before)
        time.sleep(chance.uniform(0, 0.05 if number % 2 == 0 else 0.01))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    return killed


def test_twenty_kills_leave_the_results_of_an_uninterrupted_run(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path / "killed")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    assert int(done.stdout) == KILLS
    before = read_results(tmp_path / "killed" / "results.jsonl")
    assert 0 < len(before) < 300
    evaluate(tmp_path / "killed")
    evaluate(tmp_path / "whole")
    killed, whole = load_run(tmp_path / "killed"), load_run(tmp_path / "whole")
    assert killed.results == whole.results
    assert killed.header is not None
    assert whole.header is not None
    assert killed.header.tasks == whole.header.tasks
    assert summarize(killed.results) == summarize(whole.results)
    lines = (tmp_path / "killed" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 300, "a rollout was repeated"


def test_a_line_torn_anywhere_costs_only_its_own_rollout(tmp_path: Path) -> None:
    evaluate(tmp_path)
    results = tmp_path / "results.jsonl"
    whole = results.read_bytes()
    lines = whole.splitlines(keepends=True)
    last = len(lines[-1])
    for cut in (1, last // 2, last - 1):
        results.write_bytes(whole[:-cut])
        assert len(read_results(results)) == 299
        evaluate(tmp_path)
        assert Counter(results.read_bytes().splitlines(keepends=True)) == Counter(lines)


if __name__ == "__main__":
    sys.stdout.write(str(kill_again_and_again(Path(sys.argv[1]))))
