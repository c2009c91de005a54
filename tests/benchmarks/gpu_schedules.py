"""Schedules with a real model: step time, item F1 per hour, idle shares, lengths, simulation.

    python tests/benchmarks/gpu_schedules.py OUT --seconds 690 --each 85 \
        --sft 'configs/sft_smollm2.yaml;demos.processes=6' \
        configs/train/smollm2.yaml configs/engine/vllm.yaml

Trains a supervised start beside the start of the engine, and from that one start for `--each`
seconds under every schedule, with the same tasks in the same order, over the same engine; each
ends with a measurement on held-out questions. What is done is in OUT: `schedules.json`, and of
every schedule its metrics and what `wideseek schedule-sim` predicts of its own lengths and speeds.
A schedule that is in OUT is not run again; the exit status is 1 if a schedule or a simulation
failed. Schedules may be spread over several processes on GPUs of their own: those with
`--other OUT` take the start that the process of that OUT makes. Among the settings,
`configs/cluster/one_gpu.yaml` has the trainer in a process of its own, and
`configs/cluster/two_gpus.yaml` on a GPU of its own. It runs on a CPU with the builtin engine, too
(`placement.trainer.processes=1` there).
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_first_run import START, Bench, Results, machine, opened
from gpu_learning import (
    SAMPLED,
    Learning,
    Measurement,
    Plan,
    Progress,
    begin,
    demonstrations,
    fit,
    paired,
)
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig
from wideseek_core.config import load_arguments, load_config
from wideseek_core.exits import exit_on_error
from wideseek_eval import load_tasks
from wideseek_rl import PolicyModel, RLConfig
from wideseek_rl.loop.loggers.episodes import EpisodeLogger
from wideseek_rl.loop.loggers.json_lines import JsonLinesLogger
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.simulation.lengths import rollout_length

SEED = 9
"""Of the start: no seed of the learning runs."""
SIMULATION_S = 5.0
"""Time that a simulation needs at least."""
SHARED_GPU = 0.5
"""How fast engine and trainer are on a GPU that they share, while both work."""
MEANS = (
    *("time/step_s", "time/rollouts_s", "time/update_s", "time/sync_s"),
    *("tokens/generated", "update/tokens_run", "staleness/mean", "staleness/max"),
    *("score/item_f1", "reward/mean", "reward/std_in_group", "update/entropy"),
    *("update/mismatch", "masked/tokens", "dropped/rollouts"),
)


class Steps:
    """A metric logger that keeps the steps of a schedule and the lengths of its rollouts.

    The groups of the first `max_staleness` + 1 steps begin together, so that these steps follow
    one another faster than others: means begin after them, and are over whole rounds of as many.
    """

    def __init__(self, bench: Bench, results: Results, name: str) -> None:
        self._bench, self._results, self._name = bench, results, name
        self._first: int = schedule_of(name).get("max_staleness", 0) + 1
        self.steps: list[Mapping[str, float]] = []
        self.lengths: list[tuple[float, float]] = []
        self._engine = [bench.engine.totals()]
        """At the beginning, and at the end of every step."""
        self.began = time.monotonic()

    async def start(self, step: int) -> None:
        """The time of the first step begins."""
        self.began = time.monotonic()
        self._bench.engine.reset()
        self._engine = [self._bench.engine.totals()]

    async def write(self, report: StepReport) -> None:
        """Counts a step, and what the engine did in it."""
        if not report.groups:
            return
        now = time.monotonic()
        self.steps.append({**report.metrics, "wall_s": now - self.began})
        self.began = now
        self._engine.append(self._bench.engine.totals())
        for group in report.groups:
            lengths = [rollout_length(one.episode) for one in group if one.episode.trajectories]
            self.lengths += [(one.tokens, one.tokens * one.width) for one in lengths]
        keys = ("time/step_s", "time/rollouts_s", "time/update_s", "time/sync_s", "score/item_f1")
        shown = {key: round(report.metrics.get(key, np.nan), 3) for key in keys}
        self._results.note(f"{self._name}, step", {"step": report.step, **shown})

    async def close(self) -> None:
        """Nothing is buffered."""

    def _counted(self) -> tuple[int, int]:
        """The first of the steps that means are over, and the one after them."""
        made, together = len(self.steps), self._first
        if made >= 2 * together:
            return together, made // together * together
        return (together if made > together else min(1, made - 1)), made

    def summary(self) -> dict[str, Any]:
        """Means of whole rounds of steps but the first ones, shares of the time, and lengths."""
        start, end = self._counted()
        steps, first, last = self.steps[start:end], self._engine[start], self._engine[end]
        found: dict[str, Any] = {"steps": len(self.steps), "steps of the means": len(steps)}
        for key in (*MEANS, "wall_s"):
            values = [step[key] for step in steps if key in step]
            if values:
                found[key] = round(statistics.fmean(values), 4)
        wall = sum(step["wall_s"] for step in steps)
        found["step_s, all"] = [round(step["wall_s"], 2) for step in self.steps]
        found["trainer waits"] = round(found["time/rollouts_s"] / found["wall_s"], 3)
        found["engine idle"] = round((last.idle_s - first.idle_s) / max(wall, 1e-9), 3)
        found["requests, mean"] = round((last.running_s - first.running_s) / max(wall, 1e-9), 1)
        found["requests, most"] = last.most_running
        found["tokens/s"] = round(sum(s["tokens/generated"] for s in steps) / max(wall, 1e-9))
        marks = (10, 50, 90, 99, 100)
        for place, name in enumerate(("longest path", "all tokens")):
            values = [pair[place] for pair in self.lengths]
            found[f"{name}, {marks} %"] = [round(float(x)) for x in np.percentile(values, marks)]
        return found


def schedule_of(name: str) -> dict[str, Any]:
    """`async:2` is the schedule `async` with a staleness of 2."""
    kind, _, staleness = name.partition(":")
    return {"kind": kind} | ({"max_staleness": int(staleness)} if staleness else {})


def with_schedule(config: TrainConfig, name: str, seconds: float) -> TrainConfig:
    """A run under one schedule, in a folder of its own."""
    values = config.rl.model_dump(mode="json") | {
        "schedule": schedule_of(name),
        "steps": 100_000,
        "max_seconds": seconds,
        "evaluate_every": 0,
    }
    rl = TypeAdapter(RLConfig).validate_python(values)
    checkpoint = rl.checkpoint.model_copy(update={"every_steps": 100_000, "keep_last": 1})
    rl = rl.model_copy(update={"checkpoint": checkpoint})
    folder = config.folder / name.replace(":", "_")
    return config.model_copy(update={"rl": rl, "folder": folder})


async def one_schedule(learning: Learning, name: str, seconds: float, *, measuring: bool) -> None:
    """Trains under a schedule and, where there is time for it, measures what came of it."""
    plan, bench, progress = learning.plan, learning.bench, learning.progress
    config = with_schedule(plan.config, name, seconds)
    shutil.rmtree(config.folder, ignore_errors=True)
    adapter = progress.adapter(f"start {SEED}", config.folder)
    model = PolicyModel(config.policy.model_copy(update={"adapter": adapter}))
    steps = Steps(bench, learning.results, name)
    loggers = (
        JsonLinesLogger(config.folder / "metrics.jsonl"),
        EpisodeLogger(config.folder / "episodes"),
        steps,
    )
    async with bench.trainer(config, model) as trainer:
        team = bench.team(config.policy.temperature, config.team)
        await fit(bench, config, team, trainer, plan.tasks, *loggers)
        work = config.folder / "kept"
        work.mkdir(parents=True, exist_ok=True)
        await trainer.save(work)
    summary = steps.summary()
    progress.stages[name] = summary
    shutil.copyfile(
        config.folder / "metrics.jsonl", progress.out / f"metrics_{config.folder.name}.jsonl"
    )
    write(learning)
    learning.results.note(name, summary)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not measuring:
        return
    await measured(learning, name, work / "adapter")
    change = paired(
        *(learning.progress.scores[_way(one).name]["item_f1"] for one in ("start", name))
    )
    summary |= per_hour(change, sum(step["wall_s"] for step in steps.steps))
    write(learning)
    learning.results.note(f"{name}, item F1", {**change, "per hour": summary["item F1 per hour"]})


def per_hour(change: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """A change of item F1 after so many seconds of training, with its interval an hour."""
    names = {"difference": "", "low": ", low", "high": ", high"}
    rates = {
        f"item F1 per hour{name}": round(3600 * change.get(key, np.nan) / seconds, 3)
        for key, name in names.items()
    }
    return {"item F1": change, "training s": round(seconds, 1), **rates}


def _way(policy: str) -> Measurement:
    return Measurement(seed=SEED, policy=policy, arm="multi", way=SAMPLED)


async def measured(learning: Learning, policy: str, adapter: Path) -> None:
    """Sends an adapter to the engine and measures it at temperature 1."""
    if _way(policy).name in learning.progress.scores:
        return
    out = learning.progress.out
    target = out / f"{policy} {SEED}.safetensors"
    if adapter != target:
        shutil.copyfile(adapter / "adapter_model.safetensors", target)
    await learning.send(f"{policy} {SEED}")
    await learning.scored(_way(policy))


def write(learning: Learning) -> None:
    """Keeps what is done."""
    learning.progress.write()
    text = json.dumps(learning.progress.stages, indent=1) + "\n"
    (learning.progress.out / "schedules.json").write_text(text, "utf-8")


def on_gpus_of_their_own(config: TrainConfig) -> bool:
    """Whether engine and trainer share no GPU."""
    placement = config.placement
    return (
        placement is not None and bool(placement.trainer.gpus) and not placement.engines.colocated
    )


def simulated(plan: Plan, progress: Progress, results: Results, names: Sequence[str]) -> None:
    """What the simulation predicts of the lengths and speeds of each run.

    One that fails, or for which no time is left, is noted.
    """
    overlap = 1.0 if on_gpus_of_their_own(plan.config) else SHARED_GPU
    for name in names:
        folder = plan.config.folder / name.replace(":", "_")
        if not (folder / "metrics.jsonl").exists():
            continue
        if results.left < SIMULATION_S:
            results.note(f"LEFT OUT simulation of {name}", f"{results.left:.0f} s left")
            continue
        others = "[" + ",".join(names) + "]"
        command = [sys.executable, "-m", "wideseek_apps", "schedule-sim", f"run={folder}"]
        try:
            done = subprocess.run(
                [*command, f"schedules={others}", f"overlap={overlap}"],
                capture_output=True,
                text=True,
                timeout=results.left,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            results.note(f"FAILED simulation of {name}", f"not done within {error.timeout:.0f} s")
            continue
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            results.note(f"FAILED simulation of {name}", lines[-1] if lines else "no output")
            continue
        path = progress.out / f"simulated_{folder.name}.txt"
        path.write_text(done.stdout, "utf-8")


async def run(plan: Plan, progress: Progress, results: Results, given: Any) -> None:
    """The start, its measurement, and as many schedules as fit."""
    plain = plan.config.policy.model_copy(update={"adapter": None})
    base = plan.config.model_copy(update={"policy": plain})
    ahead = None
    if not progress.done(f"{SEED} start"):
        ahead = asyncio.create_task(asyncio.to_thread(begin, plan, SEED, progress, results))
    async with opened(base, progress.out) as bench:
        results.note("engine ready", round(time.monotonic() - START, 1))
        if ahead is not None:
            await ahead
        learning = Learning(plan, bench, progress, results, 0.0)
        if not given.no_measure:
            await measured(learning, "start", progress.out / f"start {SEED}.safetensors")
        for name in given.schedules.split(","):
            if ("steps" if given.no_measure else "item F1") in progress.stages.get(name, {}):
                continue
            if results.left < given.each + given.reserve:
                results.note(f"LEFT OUT {name}", f"{results.left:.0f} s left")
                continue
            try:
                await one_schedule(learning, name, given.each, measuring=not given.no_measure)
            except Exception as error:  # noqa: BLE001 - the others still count
                results.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:800])
                traceback.print_exc()


def main() -> None:
    """One call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", help="files and settings of wideseek train")
    parser.add_argument("--sft", default="configs/sft_smollm2.yaml", help="likewise, by ;")
    parser.add_argument("--seconds", type=float, default=690, help="time for everything")
    parser.add_argument("--each", type=float, default=85, help="of training under a schedule")
    parser.add_argument("--reserve", type=float, default=30, help="behind each")
    parser.add_argument("--schedules", default="sync,async:2,tail,async:1,async:4")
    parser.add_argument("--demos", type=Path, help="as in gpu_learning.py")
    parser.add_argument("--other", type=Path, help="OUT of the process that makes the start")
    parser.add_argument("--prepare", action="store_true", help="only make those of --demos")
    parser.add_argument("--no-measure", action="store_true", help="times alone, no item F1")
    parser.add_argument("--eval-tasks", type=int, default=120)
    parser.add_argument("--trials", type=int, default=2)
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_arguments(TrainConfig, given.settings, usage="").config
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    assert not {task.id for task in tasks} & {task.id for task in held_out}
    for name in given.schedules.split(","):
        try:
            with_schedule(config, name, given.each)
        except ValueError:
            parser.error(f"--schedules: no schedule is named {name}")
    sft = load_config(SftConfig, given.sft.split(";"))
    plan = Plan(
        config=config,
        sft=sft,
        seeds=(SEED,),
        arms=("multi",),
        other=given.other,
        peer=None,
        demos=given.demos,
        tokens=1e12,
        chunk=1,
        trials=given.trials,
        tasks=tasks,
        held_out=held_out[: given.eval_tasks],
        width_tasks=0,
        single_share=sft.demos.single_share,
    )
    if given.prepare:
        assert sft.parent is not None
        demonstrations(plan, SEED, Tokenizer.from_file(str(sft.parent / "tokenizer.json")))
        return
    progress = Progress.resumed(given.out, None)
    results = Results(given.out / "log.json", START + given.seconds)
    results.note("machine", machine())
    asyncio.run(run(plan, progress, results, given))
    simulated(plan, progress, results, given.schedules.split(","))
    results.note("total seconds", round(time.monotonic() - START, 1))
    sys.exit(any(name.startswith("FAILED") for name in results.values))


if __name__ == "__main__":
    with exit_on_error():
        main()
