"""A training run that is killed again and again trains every prompt exactly once.

Run as a script, this file is the one that kills: it forks runs, each in a process group of its own
with a helper process. A run reports when as many events have happened as were drawn for it, and its
group is ended by SIGKILL a moment later. Events are rollouts that begin, updates, and files of
checkpoints. A run that has gone a few events further waits to be killed, so that none ends before,
however fast or busy the machine is. More kills than the tests do:

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
from dataclasses import dataclass
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
from wideseek_rl.rollout.runner import Group
from wideseek_rl.testing import make_agent, make_turn

KILLS = 6
FURTHER = 4
"""Events that a run may go on for after its report."""
MAX_EVENTS = 40
"""Events that a run is given at most; a step has about ten."""
STEPS, PER_STEP = 16, 3
PROMPTS = STEPS * PER_STEP
STRAGGLER, PARTLY = 5, 11
"""A prompt whose rollouts never return, and one of which one rollout does not."""
SCHEDULES = {
    "sync": {"kind": "sync"},
    "tail": {"kind": "tail", "extra": 1.0},
    "async": {"kind": "async", "max_staleness": 2},
}


@dataclass(slots=True)
class Moment:
    """When a run is to be killed."""

    first_update: int
    last_update: int
    events: int
    """Events after the first update until the report, if that comes before the last update."""
    pipe: int
    """Takes the report."""
    reported: bool = False
    further: int = FURTHER

    def pass_event(self, updates: int) -> None:
        """Counts an event after so many updates; the last one does not return."""
        if self.reported:
            self.further -= 1
            while self.further <= 0:
                time.sleep(60)
            return
        self.events -= updates >= self.first_update
        if self.events <= 0 or updates >= self.last_update:
            self.reported = True
            os.write(self.pipe, b".")


class Run:
    """What happens in this process."""

    updates = 0
    moment: Moment | None = None

    def event(self) -> None:
        if self.moment is not None:
            self.moment.pass_event(self.updates)


RUN = Run()


async def run_episode(task: Task, trial: int, seed: int) -> Episode:
    prompt = int(task.id)
    RUN.event()
    if prompt == STRAGGLER or (prompt, trial) == (PARTLY, 0):
        await asyncio.sleep(3600)
    if prompt != PARTLY:  # that one's deadline is short: its other rollouts do not wait
        await asyncio.sleep(random.Random(seed).choice((0, 0.001, 0.004)))
    turn = make_turn([prompt + 100], [trial + 1])
    return Episode(
        task_id=task.id, trial=trial, trajectories=(make_agent(turn),), answer=str(trial)
    )


class TrialJudge:
    async def score(self, task: Task, answer: str) -> Score:
        metrics = TextMetrics(correct=float(answer) / 3)
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


class ByDeadline:
    """Rollouts of which only those of two prompts have a deadline."""

    def __init__(self) -> None:
        self.patient = Rollouts(run_episode, TrialJudge(), group_size=3)
        self.impatient = Rollouts(run_episode, TrialJudge(), group_size=3, rollout_deadline_s=0.1)

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        groups = await asyncio.gather(*(self.of(task).collect([task], step) for task in tasks))
        return [group for (group,) in groups]

    def of(self, task: Task) -> Rollouts:
        return self.impatient if int(task.id) in (STRAGGLER, PARTLY) else self.patient


class Remembers:
    """Weights that are the prompts they were trained on."""

    weights: Any = None
    intact = True

    def __init__(self) -> None:
        self.trained: list[list[int]] = []

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        RUN.event()
        await asyncio.sleep(0.002)
        self.trained.append(sorted({int(sample.ids[0]) - 100 for sample in samples}))
        RUN.updates = len(self.trained)
        return UpdateMetrics(updates=1, samples=len(samples))

    async def save(self, folder: Path) -> None:
        for part in range(3):
            (folder / f"part{part}").write_text(repr(self.trained))
            RUN.event()
            await asyncio.sleep(0.001)

    async def load(self, folder: Path) -> None:
        self.trained = ast.literal_eval((folder / "part2").read_text())
        RUN.updates = len(self.trained)

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
            "checkpoint": {"every_steps": 2},
            "loggers": (),
        }
    )
    tasks = [Task(id=str(n), question="?", gold=TextGold(answers=("x",))) for n in range(PROMPTS)]
    weights = Remembers()
    loggers = open_loggers(config.loggers, LoggedRun(folder=folder), episodes=True)
    loop = TrainingLoop(config, weights, ByDeadline(), folder=folder, loggers=loggers)
    asyncio.run(loop.fit(tasks))
    return weights.trained


def kill_again_and_again(folder: Path, schedule: str, kills: int) -> list[int]:
    """Forks runs and kills their groups; the newest checkpoint at each death."""
    chance = random.Random(f"{schedule} {os.getpid()}")
    steps: list[int] = []
    ends = STEPS - FURTHER - 1  # as many updates may be made after a report
    for number in range(kills):
        reports, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.close(reports)
            first, last = ends * number // kills, ends * (number + 1) // kills
            RUN.moment = Moment(first, last, chance.randint(1, MAX_EVENTS), pipe)
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            subprocess.Popen(command, stderr=subprocess.DEVNULL)
            train(folder, schedule)
            os._exit(0)
        os.close(pipe)
        with os.fdopen(reports, "rb", buffering=0) as reported:
            is_there = reported.read(1)
        time.sleep(chance.uniform(0, 0.005))
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_there, "a run ended before it was killed"
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
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
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
    sys.stdout.write(json.dumps(kill_again_and_again(where, kind, count)) + "\n")
    check(where, kind)
    sys.stdout.write("every prompt exactly once\n")
