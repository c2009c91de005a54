"""What training teaches a real model as a team and alone: several seeds, equal tokens, paired.

    python tests/benchmarks/gpu_learning.py OUT --seconds 560 --tokens 2000000 \
        --sft 'configs/sft_smollm2.yaml;demos.processes=12' \
        configs/train/smollm2.yaml configs/engine/vllm.yaml
    python tests/benchmarks/gpu_learning.py OUT2 --continue OUT --seconds 560 ...

For every seed: a supervised start whose demonstrations are in part those of a single agent
(`--single-share` of the questions), its measurement as a team and alone, GRPO as a team and GRPO as
a single agent until each has sampled `--tokens` tokens, and the measurement of both. Each part that
ends is written to OUT: `state.json`, `scores.json` with every question's scores, `report.json` with
paired 95 % intervals of each seed and of all together, and the adapters of the seed in work. A call
that runs out of time is continued by the next from OUT: training resumes from its checkpoint where
the machine still has it, and from the saved adapter otherwise. Arguments that follow are files and
settings of `wideseek train`. It runs on a CPU with the builtin engine, too.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from gpu_first_run import Bench, Holder, Results, half, machine, opened
from tokenizers import Tokenizer

from wideseek_agents import TeamConfig
from wideseek_apps.demos import demo_set
from wideseek_apps.evaluation import wider
from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig
from wideseek_core import Episode, Task
from wideseek_core.config import load_arguments, load_config
from wideseek_eval import RunConfig, load_run, load_tasks, run_evaluation
from wideseek_eval.statistics.means import resampled_means
from wideseek_eval.statistics.summary import values_by_question
from wideseek_rl import PolicyModel, Rollouts, TorchTrainerConfig, TrainingLoop, open_trainer
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.models.hf_format import load_model
from wideseek_rl.models.lora import load_adapter, put_adapter, save_adapter
from wideseek_rl.models.policy import chosen_device
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.trainers.sft import SFTProgress, train_on_demos

START = time.monotonic()
METRICS = ("item_f1", "row_f1", "success", "format_valid", "score", "response_tokens")
ARMS = ("multi", "single")
WIDTHS = (1, 2, 5, 10)
DRAWS = 10_000
MEASURING_S = 15.0
"""Time that has to be left for a measurement."""
SENT_VERSION = 1_000_000
"""First version of policies that are sent to be measured: training counts from 0."""

Scores = dict[str, dict[str, dict[str, list[float]]]]
"""By measurement, metric and question."""


@dataclass
class Progress:
    """What is done so far, in a folder that the next call continues from."""

    out: Path
    stages: dict[str, Any] = field(default_factory=dict[str, Any])
    scores: Scores = field(default_factory=dict[str, dict[str, dict[str, list[float]]]])

    @classmethod
    def resumed(cls, out: Path, former: Path | None) -> "Progress":
        """That of another folder, copied to this one."""
        if former is not None and former.resolve() != out.resolve():
            for file in former.iterdir():
                if file.suffix in (".json", ".safetensors") and file.name != "learning.json":
                    shutil.copyfile(file, out / file.name)
        found = cls(out)
        for name in ("state", "scores"):
            path = out / f"{name}.json"
            if path.exists():
                values: dict[str, Any] = json.loads(path.read_text("utf-8"))
                (found.stages if name == "state" else found.scores).update(values)
        return found

    def write(self) -> None:
        """Keeps everything."""
        for name, values in (("state", self.stages), ("scores", self.scores)):
            (self.out / f"{name}.json").write_text(json.dumps(values) + "\n", "utf-8")

    def done(self, stage: str) -> bool:
        """Whether a stage has come to its end."""
        return bool(self.stages.get(stage, {}).get("done"))

    def adapter(self, name: str, work: Path) -> Path:
        """A folder with a saved adapter, as those who load one want it."""
        folder = work / "unpacked" / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.out / "adapter_config.json", folder / "adapter_config.json")
        shutil.copyfile(self.out / f"{name}.safetensors", folder / "adapter_model.safetensors")
        return folder


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done, from the command line."""

    config: TrainConfig
    sft: SftConfig
    seeds: Sequence[int]
    tokens: int
    """That each arm samples in training."""
    chunk: int
    """Steps between two looks at tokens and clock."""
    tasks: Sequence[Task]
    held_out: Sequence[Task]
    width_tasks: int
    single_share: float

    def team(self, arm: str, width: int | None = None) -> TeamConfig:
        """The team of an arm, of at most so many subagents a turn."""
        if arm == "single":
            return wider(self.config.team, 0)
        return self.config.team if width is None else wider(self.config.team, width)

    def start(self, seed: int) -> SftConfig:
        """The supervised stage of a seed."""
        demos = self.sft.demos.model_copy(
            update={"single_share": self.single_share, "seed": 1000 * seed}
        )
        steps = self.sft.sft.model_copy(update={"seed": seed})
        return self.sft.model_copy(update={"demos": demos, "sft": steps, "seed": seed})


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One policy of a seed, measured in one way."""

    seed: int
    policy: str
    """`start`, or the arm that was trained."""
    arm: str
    heat: float
    width: int | None = None

    @property
    def name(self) -> str:
        """Unique among measurements."""
        way = "greedy" if self.heat == 0 else f"T{self.heat:g}"
        wide = "" if self.width is None else f" width {self.width}"
        return f"seed {self.seed}, {self.policy}, as {self.arm}, {way}{wide}"


def measurements(plan: Plan, seed: int, policy: str) -> Iterator[Measurement]:
    """All of a policy: the start both ways, a trained one as it was trained; widths once."""
    for arm in ARMS if policy == "start" else (policy,):
        for heat in (1.0, 0.0):
            yield Measurement(seed=seed, policy=policy, arm=arm, heat=heat)
    if policy != "single" and seed == plan.seeds[0] and plan.width_tasks:
        for width in WIDTHS:
            yield Measurement(seed=seed, policy=policy, arm="multi", heat=0.0, width=width)


def supervised(plan: Plan, seed: int, progress: Progress, results: Results) -> None:
    """Trains the start of a seed and saves its adapter. Blocks."""
    sft, started = plan.start(seed), time.monotonic()
    assert sft.parent is not None
    assert sft.sft.lora is not None
    tokenizer = Tokenizer.from_file(str(sft.parent / "tokenizer.json"))
    made = demo_set(sft.demos, sft.team, tokenizer, max_tokens=sft.max_tokens)
    prepared = time.monotonic() - started
    model = load_model(sft.parent, chosen_device(sft.device), torch.float32)
    model.requires_grad_(True)

    def report(now: SFTProgress) -> None:
        results.note(f"seed {seed}, warm-up", [now.updates, round(now.loss, 4)])

    last = train_on_demos(model, made.rows, sft.sft, on_progress=report)
    folder = plan.config.folder / f"start_{seed}"
    save_adapter(model, folder, sft.parent)
    for arm in ARMS:
        (progress.out / f"{arm}.safetensors").unlink(missing_ok=True)
    half(folder, progress.out, "start")
    progress.stages[f"{seed} start"] = {
        "done": True,
        "loss": round(last.loss, 4),
        "updates": last.updates,
        "seconds": round(last.seconds, 1),
        "seconds of demonstrations": round(prepared, 1),
        "rows": dict(made.kept),
        "left out": dict(made.left_out),
        "tokens": made.rows.tokens,
    }
    progress.write()
    results.note(f"seed {seed}, start", progress.stages[f"{seed} start"])


class ToBeContinued(Exception):
    """The time of a call is over; the next one continues."""


class Counted:
    """A metric logger that adds up what training costs."""

    def __init__(self, facts: dict[str, Any], results: Results, name: str) -> None:
        self._facts, self._results, self._name = facts, results, name

    async def start(self, step: int) -> None:
        """Nothing is opened."""

    async def write(self, report: StepReport) -> None:
        """Counts one step."""
        if not report.groups:
            return
        metrics, facts = report.metrics, self._facts
        facts["steps"] += 1
        facts["tokens"] += int(metrics["tokens/generated"])
        facts["tokens_run"] += int(metrics["update/tokens_run"])
        facts["seconds"] = round(facts["seconds"] + metrics["time/step_s"], 2)
        keys = ("reward/mean", "score/item_f1", "score/format_rate", "reward/std_in_group")
        keys += ("update/entropy", "update/mismatch", "time/rollouts_s", "time/update_s")
        shown = {key: round(metrics.get(key, np.nan), 4) for key in keys}
        self._results.note(self._name, {**facts, **shown})

    async def close(self) -> None:
        """Nothing is buffered."""


@dataclass
class Learning:
    """The stages of one call, over one engine."""

    plan: Plan
    bench: Bench
    progress: Progress
    results: Results
    reserve_s: float
    sent: int = 0

    async def train(self, seed: int, arm: str) -> None:
        """GRPO of one arm until its tokens are spent or the time is over."""
        name = f"{seed} {arm}"
        empty = {"steps": 0, "tokens": 0, "tokens_run": 0, "seconds": 0.0, "parts": 0}
        facts = self.progress.stages.setdefault(name, empty)
        folder = self.plan.config.folder / f"{arm}_{seed}_{facts['parts']}"
        if not (folder / "checkpoints").is_dir():  # another machine, or the beginning
            facts["parts"] += 1
            folder = self.plan.config.folder / f"{arm}_{seed}_{facts['parts']}"
        first = arm if facts["steps"] else "start"
        adapter = self.progress.adapter(first, folder)
        policy = self.plan.config.policy.model_copy(update={"adapter": adapter})
        config = self.plan.config.model_copy(update={"folder": folder})
        trainer_config = config.trainer
        async with open_trainer(trainer_config, config.rl.loss, PolicyModel(policy)) as trainer:
            while facts["tokens"] < self.plan.tokens and self.results.left > self.reserve_s:
                await self.steps(config, trainer, seed, arm, facts)
                self.keep(newest(folder) / "adapter", arm)
        facts["done"] = facts["tokens"] >= self.plan.tokens
        self.progress.write()
        if not facts["done"]:
            raise ToBeContinued(f"{name}: {facts['tokens']} tokens so far")

    async def steps(
        self, config: TrainConfig, trainer: Any, seed: int, arm: str, facts: dict[str, Any]
    ) -> None:
        """Some steps more, to a checkpoint."""
        team = self.bench.team(config.policy.temperature, self.plan.team(arm))

        async def sample(task: Task, trial: int, seed: int) -> Episode:
            return await team.run(task, trial, seed)

        done = newest_step(config.folder)
        checkpoint = config.rl.checkpoint.model_copy(
            update={"every_steps": self.plan.chunk, "keep_last": 1}
        )
        rl = config.rl.model_copy(
            update={
                "seed": 100 * seed + facts["parts"],
                "steps": done + self.plan.chunk,
                "max_seconds": None,
                "evaluate_every": 0,
                "checkpoint": checkpoint,
            }
        )
        rollouts = Rollouts(
            sample,
            self.bench.judge,
            group_size=rl.group_size,
            max_concurrent=rl.max_concurrent_rollouts,
            seed=rl.seed,
        )
        loop = TrainingLoop(
            rl,
            trainer,
            rollouts,
            folder=config.folder,
            sync=self.bench.engine.inner.sync(trainer),
            loggers=[Counted(facts, self.results, f"seed {seed}, {arm}")],
            trainer_config=config.trainer,
            publish_start=True,
        )
        await loop.fit(self.plan.tasks)

    def keep(self, adapter: Path, name: str) -> None:
        """Saves an adapter and how far everything is."""
        half(adapter, self.progress.out, name)
        self.progress.write()

    async def measure(self, seed: int, policy: str) -> None:
        """Sends a policy to the engine and measures it in all ways that are missing."""
        missing = [
            one
            for one in measurements(self.plan, seed, policy)
            if one.name not in self.progress.scores
        ]
        if not missing:
            return
        await self.send(policy)
        for one in missing:
            if self.results.left < MEASURING_S:
                break
            await self.results.part(one.name, lambda one=one: self.scored(one), needs_s=0)
        left = [one.name for one in missing if one.name not in self.progress.scores]
        if left:
            raise ToBeContinued(f"{len(left)} measurements of {policy} are left")

    async def send(self, policy: str) -> None:
        """Brings a saved adapter's weights to the engine."""
        model, trainer = self.bench.local.model, self.plan.config.trainer
        assert isinstance(trainer, TorchTrainerConfig)
        assert trainer.lora is not None
        folder = self.progress.adapter(policy, self.plan.config.folder)
        module = model.load_base()
        put_adapter(module, trainer.lora)
        load_adapter(module, folder)
        async with self.bench.engine.inner.sync(Holder(ModuleSource(module))).updating() as commit:
            commit(SENT_VERSION + self.sent)
        self.sent += 1

    async def scored(self, one: Measurement) -> None:
        """Measures, and keeps every question's scores."""
        tasks = self.plan.held_out
        if one.width is not None:
            tasks = tasks[: self.plan.width_tasks]
        team = self.bench.team(one.heat, self.plan.team(one.arm, one.width))

        async def answer(task: Task, trial: int) -> Episode:
            return await team.run(task, trial, seed=1000 * one.seed + trial)

        folder = self.plan.config.folder / "measured" / one.name.replace(" ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        run = RunConfig(folder=folder, trials=1, max_concurrent=128, give_up_after=0)
        await run_evaluation(run, tasks, answer, self.bench.judge, settings={"name": one.name})
        results = tuple(load_run(folder).results)
        scores = {metric: values_by_question(results, metric) for metric in METRICS}
        self.progress.scores[one.name] = scores
        self.progress.write()
        means = {
            m: round(fmean(v[0] for v in found.values()), 4) for m, found in scores.items() if found
        }
        self.results.note(one.name, {"questions": len(tasks), **means})

    async def seed(self, seed: int) -> None:
        """Everything of a seed that is not done yet."""
        if not self.progress.done(f"{seed} start"):
            if self.results.left < self.reserve_s:
                raise ToBeContinued(f"seed {seed} is left")
            work = asyncio.to_thread(supervised, self.plan, seed, self.progress, self.results)
            await work
        await self.measure(seed, "start")
        for arm in ARMS:
            if not self.progress.done(f"{seed} {arm}"):
                await self.train(seed, arm)
            await self.measure(seed, arm)


def newest(folder: Path) -> Path:
    """The newest checkpoint of a training folder."""
    return max((folder / "checkpoints").glob("step_*"))


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    found = (folder / "checkpoints").glob("step_*")
    return max((int(path.name[5:]) for path in found), default=0)


def paired(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """B minus A over the questions of both, with a 95 % interval by bootstrap of the questions."""
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return {"questions": 0}
    before, after = (np.array([fmean(side[q]) for q in shared]) for side in (a, b))
    gaps = after - before
    low, high = np.quantile(resampled_means(gaps[:, None], DRAWS, 0)[:, 0], [0.025, 0.975])
    numbers = {"a": before.mean(), "b": after.mean(), "difference": gaps.mean()}
    numbers |= {"low": low, "high": high}
    return {"questions": len(shared), **{k: round(float(v), 4) for k, v in numbers.items()}}


COMPARED: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "team, start to trained": (("start", "multi"), ("multi", "multi")),
    "single agent, start to trained": (("start", "single"), ("single", "single")),
    "trained: single agent to team": (("single", "single"), ("multi", "multi")),
    "start: single agent to team": (("start", "single"), ("start", "multi")),
}
"""Pairs of a policy and the arm that it is measured as."""


def report(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All comparisons that can be made: seed by seed, together, and of real tables alone."""
    sources = {task.id: task.source or "all" for task in plan.held_out}
    found: dict[str, Any] = {}
    for title, (first, second) in COMPARED.items():
        for heat in (1.0, 0.0):
            pairs = [
                (_named(progress, seed, first, heat), _named(progress, seed, second, heat))
                for seed in plan.seeds
            ]
            whole = [(a, b) for a, b in pairs if a is not None and b is not None]
            if not whole:
                continue
            label = f"{title}, {'greedy' if heat == 0 else 'T1'}"
            found[label] = {
                metric: _compared([(a[metric], b[metric]) for a, b in whole], sources)
                for metric in METRICS
            }
    return found


def _named(
    progress: Progress, seed: int, what: tuple[str, str], heat: float
) -> dict[str, dict[str, list[float]]] | None:
    policy, arm = what
    name = Measurement(seed=seed, policy=policy, arm=arm, heat=heat).name
    return progress.scores.get(name)


Values = Mapping[str, Sequence[float]]


def _compared(pairs: Sequence[tuple[Values, Values]], sources: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": [paired(a, b) for a, b in pairs]}
    both = tuple(_pooled([pair[side] for pair in pairs]) for side in (0, 1))
    found["together"] = paired(*both)
    for source in sorted(set(sources.values())):
        some = [{q: v for q, v in side.items() if sources.get(q) == source} for side in both]
        if all(some):
            found[source] = paired(*some)
    return found


def _pooled(sides: Sequence[Values]) -> dict[str, list[float]]:
    """The values of each question over all seeds."""
    questions = {question for side in sides for question in side}
    return {q: [value for side in sides for value in side.get(q, ())] for q in questions}


async def run(plan: Plan, progress: Progress, results: Results, reserve_s: float) -> None:
    """As many stages as there is time for."""
    plain = plan.config.policy.model_copy(update={"adapter": None})
    base = plan.config.model_copy(update={"policy": plain})
    ahead = None
    first = plan.seeds[0]
    if not progress.done(f"{first} start"):  # beside the start of the engine
        ahead = asyncio.create_task(asyncio.to_thread(supervised, plan, first, progress, results))
    async with opened(base, progress.out) as bench:
        results.note("engine ready", round(time.monotonic() - START, 1))
        if ahead is not None:
            await ahead
        config = replace(bench, config=base)
        learning = Learning(plan, config, progress, results, reserve_s)
        for seed in plan.seeds:
            try:
                await learning.seed(seed)
            except ToBeContinued as reason:
                results.note("to be continued", str(reason))
                return
            except Exception as error:  # noqa: BLE001 - what was measured before is still written
                results.note(f"FAILED seed {seed}", f"{type(error).__name__}: {error}"[:800])
                traceback.print_exc()


def main() -> None:
    """One call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", help="files and settings of wideseek train")
    parser.add_argument("--continue", dest="former", type=Path, help="OUT of an earlier call")
    parser.add_argument("--sft", default="configs/sft_smollm2.yaml", help="likewise, by ;")
    parser.add_argument("--seconds", type=float, default=560, help="time for everything")
    parser.add_argument("--reserve", type=float, default=45, help="of it behind training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=float, default=2e6, help="that each arm samples")
    parser.add_argument("--chunk", type=int, default=3, help="steps between two checkpoints")
    parser.add_argument("--single-share", type=float, default=0.3)
    parser.add_argument("--eval-tasks", type=int, default=120)
    parser.add_argument("--width-tasks", type=int, default=40)
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_arguments(TrainConfig, given.settings, usage="").config
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    assert not {task.id for task in tasks} & {task.id for task in held_out}
    plan = Plan(
        config=config,
        sft=load_config(SftConfig, given.sft.split(";")),
        seeds=range(1, given.seeds + 1),
        tokens=int(given.tokens),
        chunk=given.chunk,
        tasks=tasks,
        held_out=held_out[: given.eval_tasks],
        width_tasks=given.width_tasks,
        single_share=given.single_share,
    )
    progress = Progress.resumed(given.out, given.former)
    results = Results(given.out / "learning.json", START + given.seconds)
    results.note("machine", machine())
    asyncio.run(run(plan, progress, results, given.reserve))
    found = report(plan, progress)
    (given.out / "report.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    stages = [f"{seed} {part}" for seed in plan.seeds for part in ("start", *ARMS)]
    missing = [stage for stage in stages if not progress.done(stage)]
    missing += [
        one.name
        for seed in plan.seeds
        for policy in ("start", *ARMS)
        for one in measurements(plan, seed, policy)
        if one.name not in progress.scores
    ]
    results.note("missing", missing)
    results.note("total seconds", round(time.monotonic() - START, 1))
    sys.exit(0 if not missing else 75)  # 75: to be continued


if __name__ == "__main__":
    main()
