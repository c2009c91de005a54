"""Parts of the method, one changed at a time, on the small tables of the atlas, on the CPU.

Every variant trains the start policy for equally many steps of equally many rollouts, with several
seeds, and is measured on the same held-out questions; the measurement before training is shared.
Each run is a process of its own; `--jobs` of them run side by side, with one thread for torch and
one for sampling each. A run that is there already is not repeated, and one that was broken off is
resumed from its last checkpoint; a folder with runs of another number of steps is refused.

    python tests/benchmarks/run_ablations.py runs/ablations [--steps 8] [--only base,async] \
        [--seeds 3] [--jobs 24] [--seconds 500]

After every run it writes the table to `FOLDER/ablations.md`, and to `FOLDER/ablations.json` the
item F1 and row F1 of every question.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from wideseek_apps.training import measure, open_setup
from wideseek_apps.training_config import TrainConfig
from wideseek_core.config import load_arguments
from wideseek_core.exits import exit_on_error
from wideseek_core.progress import show
from wideseek_eval import Result, load_run, load_tasks
from wideseek_eval.statistics.compare import Difference, compare
from wideseek_eval.statistics.summary import values_by_question

SELECTION, CREDIT = "rl.algorithm.selection", "rl.algorithm.credit"
ASYNC = ("rl.schedule.kind=async",)
TIS = ("trainer.recompute_logprobs=true", "rl.loss.correction.kind=tis")

VARIANTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "base": ("table credit, per group, `agent`, `all`, `sync`", ()),
    "credit-rollout": ("credit `rollout`", (f"{CREDIT}=rollout",)),
    "per-role": ("advantages per role", ("rl.algorithm.advantage.pool=role",)),
    "async": ("schedule `async`, staleness 1", ASYNC),
    "async-tis": ("schedule `async`, staleness 1, TIS", (*ASYNC, *TIS)),
    "weight-token": ("weighting `token`", ("rl.algorithm.weighting=token",)),
    "weight-rollout": ("weighting `rollout`", ("rl.algorithm.weighting=rollout",)),
    "select-outcome": ("selection `outcome`", (f"{SELECTION}=outcome",)),
    "select-agents": ("selection `outcome_agents`", (f"{SELECTION}=outcome_agents",)),
    "tail": ("schedule `tail`", ("rl.schedule.kind=tail",)),
}
"""What differs from `base`, in words and as settings."""


STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306}
"""97.5 % points of Student's t for the mean of so many seeds."""
METRICS = ("item_f1", "row_f1")


def settings_of(folder: Path, steps: int, seed: int, variant: str) -> list[str]:
    """The settings of a run."""
    return [
        f"folder={folder}",
        f"rl.steps={steps}",
        f"rl.seed={seed}",
        "rl.max_seconds=null",
        "rl.prompts_per_step=4",
        "rl.group_size=6",
        "rl.checkpoint.every_steps=4",
        "rl.checkpoint.keep_last=1",
        "rl.loggers=[]",
        "policy.engine.processes=1",
        *VARIANTS[variant][1],
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One variant with one seed."""

    variant: str
    seed: int
    folder: Path

    @property
    def done(self) -> bool:
        """Whether it has been trained and measured."""
        return (self.folder / "cpu_s").exists()

    @property
    def planned_steps(self) -> int | None:
        """Steps that it was begun with; None if it was not."""
        with suppress(OSError):
            return json.loads((self.folder / "rl_config.json").read_text("utf-8"))["steps"]
        return None

    def results(self, when: str) -> list[Result]:
        """Of the held-out questions, `before` or `after` training."""
        return list(load_run(self.folder / when).results)

    @property
    def steps(self) -> list[Mapping[str, float]]:
        """The metrics of every step."""
        lines = (self.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        found = (json.loads(line) for line in lines)
        return [metrics for metrics in found if "time/step_s" in metrics]

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time of the process and its children."""
        return float((self.folder / "cpu_s").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The runs of one variant that are done, one a seed."""

    runs: Sequence[Run]

    def results(self, when: str, seeds: Sequence[int]) -> list[Result]:
        """Of some seeds together: as many rollouts of each question."""
        return [one for run in self.runs if run.seed in seeds for one in run.results(when)]

    def mean(self, metric: str) -> float:
        """Over the steps that have it but the first of each run, in which things are loaded."""
        values = [step[metric] for run in self.runs for step in run.steps[1:] if metric in step]
        return fmean(values) if values else float("nan")


def difference(
    a: "tuple[Row, str]", b: "tuple[Row, str]", metric: str
) -> "tuple[Difference, list[float]]":
    """B minus A over the seeds of both, paired by question, and that of each seed alone."""
    seeds = [run.seed for run in a[0].runs if run.seed in {other.seed for other in b[0].runs}]

    def found(chosen: Sequence[int]) -> Difference:
        sides = [row.results(when, chosen) for row, when in (a, b)]
        return compare(sides[0], sides[1], metrics=[metric]).differences[0]

    return found(seeds), [found([seed]).difference for seed in seeds]


def table(done: Mapping[str, Row]) -> Iterator[str]:
    """The results as a Markdown table."""
    yield (
        "| variant | seeds | item F1, before → after | each seed | against `base` | each seed "
        "| row F1 | CPU s | step s | stale |"
    )
    yield "| --- |" + " --- |" * 9
    for name, row in done.items():
        item, seeds = difference((row, "before"), (row, "after"), "item_f1")
        rows, _ = difference((row, "before"), (row, "after"), "row_f1")
        other = each = "—"
        if name != "base" and "base" in done:
            gap, gaps = difference((done["base"], "after"), (row, "after"), "item_f1")
            other, each = _difference(gap), _each(gaps)
        yield (
            f"| {VARIANTS[name][0]} | {len(row.runs)} "
            f"| {item.a.mean:.3f} → {item.b.mean:.3f}, {_difference(item)} | {_each(seeds)} "
            f"| {other} | {each} | {_difference(rows)} "
            f"| {fmean(run.cpu_s for run in row.runs):.0f} | {row.mean('time/step_s'):.1f} "
            f"| {row.mean('staleness/mean'):.2f} |"
        )


def _difference(found: Difference) -> str:
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _each(values: Sequence[float]) -> str:
    """Every seed's value, and the 95 % interval of their mean."""
    text = ", ".join(f"{value:+.3f}" for value in values)
    if len(values) not in STUDENT:
        return text
    half = STUDENT[len(values)] * stdev(values) / len(values) ** 0.5
    return f"{text}; ±{half:.3f}"


def write(folder: Path, done: Mapping[str, Row]) -> str:
    """Writes the table and the scores; returns the table."""
    text = "\n".join(table(done)) + "\n"
    (folder / "ablations.md").write_text(text, "utf-8")
    runs = [run for row in done.values() for run in row.runs]
    scores = {
        f"{run.variant} {run.seed} {when}": {
            metric: {
                question: round(fmean(values), 4)
                for question, values in values_by_question(run.results(when), metric).items()
            }
            for metric in METRICS
        }
        for run in runs
        for when in ("before", "after")
        if when == "after" or run is runs[0]
    }
    (folder / "ablations.json").write_text(json.dumps(scores) + "\n", "utf-8")
    return text


async def measure_start(folder: Path, processes: int) -> None:
    """Measures the start policy with all cores, as every run would with its own."""
    start = folder / "start"
    settings = [*settings_of(start, 1, 0, "base"), f"policy.engine.processes={processes}"]
    config = load_arguments(TrainConfig, settings, usage="").config
    async with open_setup(config) as setup:
        await measure(config, "before", 0, load_tasks(config.evaluation.data), setup)


class Runs:
    """All runs that were asked for, so many at the same time."""

    def __init__(self, folder: Path, runs: Sequence[Run], steps: int, jobs: int) -> None:
        self._folder, self._runs, self._steps, self._jobs = folder, runs, steps, jobs
        self._waiting = [run for run in runs if not run.done]
        self._running: dict[int, tuple[Run, subprocess.Popen[bytes]]] = {}
        self.failed: list[str] = []

    @property
    def done(self) -> dict[str, Row]:
        """By variant, in their order."""
        found: dict[str, list[Run]] = {}
        for run in self._runs:
            if run.done:
                found.setdefault(run.variant, []).append(run)
        return {name: Row(runs=runs) for name, runs in found.items()}

    def work(self, deadline: float) -> None:
        """Until all are done or the time is over, when those that still run are stopped."""
        while (self._waiting or self._running) and time.monotonic() < deadline:
            while self._waiting and len(self._running) < self._jobs:
                self._begin(self._waiting.pop(0))
            ended, status, usage = os.wait4(-1, os.WNOHANG)
            if ended in self._running:
                self._end(ended, status, usage.ru_utime + usage.ru_stime)
            elif not ended:
                time.sleep(0.5)
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()

    def _begin(self, run: Run) -> None:
        before = run.folder / "before"
        if not before.exists():
            shutil.copytree(self._folder / "start" / "before", before)
        settings = settings_of(run.folder, self._steps, run.seed, run.variant)
        command = [sys.executable, "-m", "wideseek_apps", "train", *settings]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with (run.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self._running[process.pid] = (run, process)

    def _end(self, pid: int, status: int, cpu_s: float) -> None:
        run, process = self._running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            self.failed.append(f"{run.variant}, seed {run.seed}: see {run.folder / 'log'}")
            return
        (run.folder / "cpu_s").write_text(f"{cpu_s:.1f}")
        write(self._folder, self.done)


def main() -> None:
    """Runs the variants and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", help="in place of all variants and seeds: VARIANT-SEED, by ,")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--seconds", type=float, default=1e9, help="time for everything")
    given = parser.parse_args()
    named = [f"{name}-{n}" for n in range(given.seeds) for name in given.only.split(",")]
    chosen = list(dict.fromkeys(given.runs.split(",") if given.runs else named))
    for name in chosen:
        variant, _, seed = name.rpartition("-")
        if variant not in VARIANTS or not seed.isdecimal():
            parser.error(f"no run is named {name}; variants are {', '.join(VARIANTS)}")
    deadline = time.monotonic() + given.seconds
    given.folder.mkdir(parents=True, exist_ok=True)
    runs = [
        Run(
            variant=name.rpartition("-")[0],
            seed=int(name.rpartition("-")[2]),
            folder=given.folder / name,
        )
        for name in chosen
    ]
    for run in runs:
        if run.planned_steps not in (None, given.steps):
            parser.error(
                f"{run.folder} is of {run.planned_steps} steps: take --steps {run.planned_steps} "
                "or another folder"
            )
    asyncio.run(measure_start(given.folder, min(2 * given.jobs, 16)))
    work = Runs(given.folder, runs, given.steps, given.jobs)
    work.work(deadline)
    show(write(given.folder, work.done) if work.done else "nothing is done yet")
    missing = [f"{run.variant}, seed {run.seed}" for run in runs if not run.done]
    if work.failed or missing:
        sys.exit("\n".join(["failed or not done:", *work.failed, *missing]))


if __name__ == "__main__":
    with exit_on_error():
        main()
