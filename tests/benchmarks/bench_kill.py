"""The main job killed by SIGKILL, helper processes and all, at random times, and then resumed.

    python tests/benchmarks/bench_kill.py runs/killed --schedule async --kills 20

A small run of `wideseek train` on the atlas: 16 questions, two rollouts each, a checkpoint a step.
It prints at which checkpoint each death found the run, and whether every question was trained on
exactly once. `packages/wideseek-rl/tests/test_training_kill.py` does the same without a model.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from wideseek_core.episode_records import read_episodes
from wideseek_core.progress import show

QUESTIONS = 16
SETTINGS = (
    f"data.limit={QUESTIONS}",
    "evaluation.data.limit=1",
    "rl.prompts_per_step=2",
    "rl.group_size=2",
    f"rl.steps={QUESTIONS // 2}",
    "rl.max_seconds=null",
    "rl.checkpoint.every_steps=1",
    "rl.loggers=[]",
)


def start(folder: Path, schedule: str) -> subprocess.Popen[bytes]:
    """The job, in a process group of its own."""
    command = [sys.executable, "-m", "wideseek_apps", "train", f"folder={folder}", *SETTINGS]
    command.append(f"rl.schedule.kind={schedule}")
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def newest(folder: Path) -> int:
    """The step of the newest checkpoint."""
    found = (int(path.name[5:]) for path in (folder / "checkpoints").glob("step_*"))
    return max(found, default=0)


def live(folder: Path, schedule: str, chance: random.Random) -> int | None:
    """Runs until a step or two are done and a while longer, and kills; None if it ended before."""
    job, first = start(folder, schedule), newest(folder)
    steps = chance.randint(0, 2)
    while newest(folder) < first + steps and job.poll() is None:
        time.sleep(0.2)
    try:
        job.wait(chance.uniform(0.5, 20))
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        return newest(folder)
    return None


def main() -> None:
    """Kills, resumes, and looks at what was trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schedule", default="async", choices=["sync", "tail", "async"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.parent.mkdir(parents=True, exist_ok=True)
    chance, deaths = random.Random(arguments.seed), list[int]()
    while len(deaths) < arguments.kills:
        death = live(arguments.folder, arguments.schedule, chance)
        if death is None:
            break
        deaths.append(death)
    last = start(arguments.folder, arguments.schedule)
    show(f"checkpoints at {len(deaths)} deaths: {deaths}; the last run ended with {last.wait()}")
    seen = Counter[str]()
    for path in sorted((arguments.folder / "episodes").glob("step_*.jsonl")):
        seen.update({record.episode.task_id for record in read_episodes(path)})
    once = len(seen) == QUESTIONS and set(seen.values()) == {1}
    show("every question exactly once" if once else f"not once: {seen}")
    raise SystemExit(last.returncode or not once)


if __name__ == "__main__":
    main()
