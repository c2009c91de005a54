"""The main job killed by SIGKILL, helper processes and all, at random times, and then resumed.

    python tests/benchmarks/run_kill.py runs/killed --schedule async --kills 20

A small run of `wideseek train` on the atlas: 16 questions, two rollouts each, a checkpoint a step.
It prints at which checkpoint each death found the run, and whether every question was trained on
and every step reported exactly once; a run that ended is followed by another one.
`packages/wideseek-rl/tests/test_training_kill.py` does the same without a model.
"""

import argparse
import json
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


def problems(folder: Path, status: int) -> list[str]:
    """What is not as in a run that nothing disturbed."""
    seen = Counter[str]()
    for path in sorted((folder / "episodes").glob("step_*.jsonl")):
        seen.update({record.episode.task_id for record in read_episodes(path)})
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    steps = [found["step"] for found in metrics if "time/step_s" in found]
    held_out = [found["step"] for found in metrics if "eval/held_out/score" in found]
    last = QUESTIONS // 2
    checks = {
        f"ended with {status}": status == 0,
        f"questions not trained on once: {seen}": (len(seen), {*seen.values()}) == (QUESTIONS, {1}),
        f"steps of metrics.jsonl: {steps}": steps == list(range(1, last + 1)),
        f"held-out tasks after steps {held_out}": held_out == [0, last],
    }
    return [problem for problem, fine in checks.items() if not fine]


def main() -> None:
    """Kills, resumes, and looks at what was trained on; run after run until all kills are made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schedule", default="async", choices=["sync", "tail", "async"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    chance, left, wrong = random.Random(arguments.seed), arguments.kills, False
    while left > 0:
        folder, deaths = arguments.folder / f"{arguments.schedule}_{left}_left", list[int]()
        while left > 0 and (death := live(folder, arguments.schedule, chance)) is not None:
            deaths.append(death)
            left -= 1
        status = start(folder, arguments.schedule).wait()
        found = problems(folder, status)
        wrong = wrong or bool(found)
        show(f"{folder.name}: checkpoints at {len(deaths)} deaths: {deaths}")
        show("  " + ("; ".join(found) or "every question exactly once, every step reported once"))
    raise SystemExit(wrong)


if __name__ == "__main__":
    main()
