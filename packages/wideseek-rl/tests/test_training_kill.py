"""A training run that is killed again and again trains every prompt exactly once.

Run as a script, this file is the one that kills: it forks runs, each in a process group of its own
with a helper process, and ends the groups by SIGKILL a random number of events later: rollouts that
begin, updates, files of checkpoints. More kills than the tests do:

    python packages/wideseek-rl/tests/test_training_kill.py FOLDER sync|tail|async 20
"""

import ast
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import Episode, Score, ScoreState, Task, TextGold, TextMetrics
from wideseek_core.episode_records import read_episodes
from wideseek_rl import (
    RLConfig,
    Rollouts,
    TrainingLoop,
    TrainingSample,
    UpdateMetrics,
    open_loggers,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.loop.loggers.protocol import LoggedRun
from wideseek_rl.testing import make_agent, make_turn

KILLS = 6
MAX_EVENTS = {"sync": 40, "tail": 50, "async": 80}
"""Events that a run is given at most; a step has about ten, and `async` begins three at once."""
STEPS, PER_STEP = 16, 3
PROMPTS = STEPS * PER_STEP
STRAGGLER, PARTLY = 5, 11
"""A prompt whose rollouts never return, and one of which one rollout does not."""
SCHEDULES = {
    "sync": {"kind": "sync"},
    "tail": {"kind": "tail", "extra": 1.0},
    "async": {"kind": "async", "max_staleness": 2},
}


_report: list[int] = []
"""Where a run that may be killed reports its events."""


def event() -> None:
    for pipe in _report:
        os.write(pipe, b".")


async def run_episode(task: Task, trial: int, seed: int) -> Episode:
    prompt = int(task.id)
    event()
    if prompt == STRAGGLER or (prompt, trial) == (PARTLY, 0):
        await asyncio.sleep(3600)
    await asyncio.sleep(random.Random(seed).choice((0, 0.001, 0.004)))
    turn = make_turn([prompt + 100], [trial + 1])
    return Episode(
        task_id=task.id, trial=trial, trajectories=(make_agent(turn),), answer=str(trial)
    )


class TrialJudge:
    async def score(self, task: Task, answer: str) -> Score:
        metrics = TextMetrics(correct=float(answer) / 3)
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


class Remembers:
    """Weights that are the prompts they were trained on."""

    weights: Any = None

    def __init__(self) -> None:
        self.trained: list[list[int]] = []

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        event()
        await asyncio.sleep(0.002)
        self.trained.append(sorted({int(sample.ids[0]) - 100 for sample in samples}))
        return UpdateMetrics(updates=1, samples=len(samples))

    async def save(self, folder: Path) -> None:
        for part in range(3):
            (folder / f"part{part}").write_text(repr(self.trained))
            event()
            await asyncio.sleep(0.001)

    async def load(self, folder: Path) -> None:
        self.trained = ast.literal_eval((folder / "part2").read_text())

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")


def train(folder: Path, schedule: str) -> list[list[int]]:
    """Trains to the end of the run; the prompts of each update."""
    config = RLConfig.model_validate(
        {
            "prompts_per_step": PER_STEP,
            "group_size": 3,
            "steps": STEPS,
            "schedule": SCHEDULES[schedule],
            "rollout_deadline_s": 0.1,
            "checkpoint": {"every_steps": 2},
            "loggers": (),
        }
    )
    tasks = [Task(id=str(n), question="?", gold=TextGold(answers=("x",))) for n in range(PROMPTS)]
    rollouts = Rollouts(run_episode, TrialJudge(), group_size=3, rollout_deadline_s=0.1)
    weights = Remembers()
    loggers = open_loggers(config.loggers, LoggedRun(folder=folder), episodes=True)
    loop = TrainingLoop(config, weights, rollouts, folder=folder, loggers=loggers)
    asyncio.run(loop.fit(tasks))
    return weights.trained


def kill_at_random(folder: Path, schedule: str, kills: int) -> list[int]:
    """Forks runs and kills their groups; the newest checkpoint at each death."""
    chance = random.Random(f"{schedule} {os.getpid()}")
    steps: list[int] = []
    while len(steps) < kills:
        events, reports = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.close(events)
            _report.append(reports)
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            subprocess.Popen(command, stderr=subprocess.DEVNULL)
            train(folder, schedule)
            os._exit(0)
        os.close(reports)
        with os.fdopen(events, "rb", buffering=0) as reported:
            if not all(reported.read(1) for _ in range(chance.randint(1, MAX_EVENTS[schedule]))):
                os.waitpid(child, 0)
                break  # the run has come to its end
            time.sleep(chance.uniform(0, 0.005))
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
        found = (int(path.name[5:]) for path in (folder / "checkpoints").glob("step_*"))
        steps.append(max(found, default=0))
    return steps


def prompts_of_the_log(folder: Path) -> tuple[Counter[int], Counter[int]]:
    """How often the log of the run has each prompt, and how many rollouts of each failed."""
    seen, failed = Counter[int](), Counter[int]()
    for path in sorted((folder / "episodes").glob("step_*.jsonl")):
        records = [record.episode for record in read_episodes(path)]
        seen.update({int(episode.task_id) for episode in records})
        failed.update(int(episode.task_id) for episode in records if episode.error)
    return seen, failed


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_kills_of_everything_leave_every_prompt_trained_once(tmp_path: Path, schedule: str) -> None:
    command = [sys.executable, __file__, str(tmp_path), schedule, str(KILLS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    deaths = json.loads(done.stdout.splitlines()[0])
    assert len(deaths) == KILLS
    assert done.stdout.splitlines()[1:] == ["every prompt exactly once"]


def check(folder: Path, schedule: str) -> None:
    """Ends the run, and looks at what it trained on."""
    trained = Counter(prompt for prompts in train(folder, schedule) for prompt in prompts)
    every = set(range(PROMPTS))
    # The straggler's rollouts failed, all of them, and are counted in the step they were due in.
    assert trained == Counter(every - {STRAGGLER})
    seen, failed = prompts_of_the_log(folder)
    assert seen == Counter(every)
    assert failed == {STRAGGLER: 3, PARTLY: 1}
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, STEPS + 1))
    assert sum(line["dropped/error"] for line in metrics) == 4


if __name__ == "__main__":
    where, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    sys.stdout.write(json.dumps(kill_at_random(where, kind, count)) + "\n")
    check(where, kind)
    sys.stdout.write("every prompt exactly once\n")
