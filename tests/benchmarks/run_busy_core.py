"""What a busy neighbour costs the default training: steps and tokens/s, alone and beside a loop.

    uv run python tests/benchmarks/run_busy_core.py [--seconds 180] [KEY=VALUE ...]

Trains the start policy twice from the beginning for the same time: alone, then beside one process
that never rests. Run it on a machine that does nothing else. Settings such as `rl.seed=1` are
passed on to `wideseek train`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wideseek_core.progress import show

LOOP = "while True: pass"


@contextmanager
def neighbour() -> Generator[None]:
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", LOOP])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def train(folder: Path, seconds: float, settings: list[str]) -> list[dict[str, float]]:
    """Trains for so many seconds; returns the metrics of the steps."""
    command = [sys.executable, "-m", "wideseek_apps", "train", f"folder={folder}"]
    limits = [f"rl.max_seconds={seconds}", "rl.steps=null", "evaluation.data.limit=1"]
    subprocess.run([*command, *limits, *settings], check=True, stdout=subprocess.DEVNULL)
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "time/step_s" in line]


def line(name: str, steps: list[dict[str, float]], cpu_s: float) -> str:
    """One row of the table."""
    sampled = sum(step["tokens/generated"] for step in steps)
    inside = sum(step["time/rollouts_s"] for step in steps)
    trained = sum(step.get("update/tokens_trained", 0.0) for step in steps)
    updating = sum(step["time/update_s"] for step in steps)
    median = statistics.median(step["time/step_s"] for step in steps)
    return (
        f"| {name} | {len(steps)} | {median:.1f} s | {sampled / inside:,.0f} "
        f"| {trained / updating:,.0f} | {cpu_s / len(steps):.1f} s |"
    )


def cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """Prints one row without a neighbour, and one with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    show(f"load before: {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {time.ctime()}")
    show("| beside | steps | median step | sampled tokens/s | trained tokens/s | CPU a step |")
    show("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_seconds()
        steps = train(Path(folder) / "alone", arguments.seconds, arguments.settings)
        after = cpu_seconds()
        show(line("nothing", steps, after - before))
        with neighbour():
            steps = train(Path(folder) / "beside", arguments.seconds, arguments.settings)
            # The neighbour is still running and not counted.
            show(line("one busy process", steps, cpu_seconds() - after))


if __name__ == "__main__":
    main()
