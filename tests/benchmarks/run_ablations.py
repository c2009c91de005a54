"""Parts of the method, one changed at a time, on the small tables of the atlas, on the CPU.

Every variant trains the start policy for equally many steps of equally many rollouts, with the same
seed, and is measured on the same held-out questions; the measurement before training is shared.
Runs follow one another, each in a process of its own; one that is there already is not repeated.

    python tests/benchmarks/run_ablations.py runs/ablations [--steps 8] [--only base,async]

It writes the table to `FOLDER/ablations.md` after every run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from wideseek_core.progress import show
from wideseek_eval import load_run
from wideseek_eval.statistics.compare import Difference, compare

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One variant that has been trained and measured."""

    name: str
    folder: Path

    def change(self, metric: str, before: Path | None = None) -> Difference:
        """From before training, or from another variant, to after it; paired by question."""
        first = load_run(before or self.folder / "before").results
        found = compare(first, load_run(self.folder / "after").results, metrics=[metric])
        return found.differences[0]

    @property
    def steps(self) -> list[Mapping[str, float]]:
        """The metrics of every step."""
        lines = (self.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        found = (json.loads(line) for line in lines)
        return [metrics for metrics in found if "time/step_s" in metrics]

    def mean(self, metric: str) -> float:
        """Over the steps but the first, in which things are loaded."""
        return fmean(step[metric] for step in self.steps[1:])

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time of the process and its children."""
        return float((self.folder / "cpu_s").read_text())


def train(name: str, folder: Path, steps: int) -> Ran:
    """Trains and measures a variant, unless that is done."""
    ran = Ran(name=name, folder=folder / name)
    if (ran.folder / "cpu_s").exists():
        return ran
    shared = folder / "base" / "before"
    if name != "base" and not (ran.folder / "before").exists():
        shutil.copytree(shared, ran.folder / "before")
    settings = [
        f"folder={ran.folder}",
        f"rl.steps={steps}",
        "rl.max_seconds=null",
        "rl.prompts_per_step=4",
        "rl.group_size=6",
        "rl.checkpoint.every_steps=1000",
        "rl.loggers=[]",
        *VARIANTS[name][1],
    ]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wideseek_apps", "train", *settings], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed, see {folder / name}.log")
    (ran.folder / "cpu_s").write_text(f"{usage.ru_utime + usage.ru_stime:.1f}")
    return ran


def table(done: Mapping[str, Ran]) -> Iterator[str]:
    """The results as a Markdown table."""
    yield "| variant | item F1, before → after | against `base` | row F1 | CPU s | step s | stale |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, ran in done.items():
        item, row = ran.change("item_f1"), ran.change("row_f1")
        other = "—"
        if name != "base" and "base" in done:
            other = _difference(ran.change("item_f1", done["base"].folder / "after"))
        means = f"{item.a.mean:.3f} → {item.b.mean:.3f}"
        yield (
            f"| {VARIANTS[name][0]} | {means}, {_difference(item)} | {other} "
            f"| {_difference(row)} | {ran.cpu_s:.0f} | {ran.mean('time/step_s'):.1f} "
            f"| {ran.mean('staleness/mean'):.2f} |"
        )


def _difference(found: Difference) -> str:
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def main() -> None:
    """Runs the variants and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", default=",".join(VARIANTS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Ran] = {}
    text = ""
    for name in arguments.only.split(","):
        done[name] = train(name, arguments.folder, arguments.steps)
        text = "\n".join(table(done)) + "\n"
        (arguments.folder / "ablations.md").write_text(text, "utf-8")
    show(text)


if __name__ == "__main__":
    main()
