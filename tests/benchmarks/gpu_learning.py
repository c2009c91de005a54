"""What training teaches a real model as a team and alone: several seeds, equal tokens, paired.

    python tests/benchmarks/gpu_learning.py OUT --seconds 690 --seed 1 --arms multi \\
        --sft 'configs/sft_smollm2.yaml;demos.processes=6' \\
        configs/train/smollm2.yaml configs/engine/vllm.yaml folder=runs/seed1
    python tests/benchmarks/gpu_learning.py OUT2 --seed 1 --arms single --other OUT ...
    python tests/benchmarks/gpu_learning.py MERGED --merge OUT,OUT2,...

For every seed: a supervised start whose demonstrations are in part those of a single agent
(`--single-share` of the questions), its measurement as a team and alone, GRPO as a team and as a
single agent until the time is over (or each has sampled `--tokens` tokens), and the measurement of
both. The arms may be two processes on one GPU: the one with `--other` begins with the start that
the other makes, and of the arm that has sampled more tokens at the end the policy with as many as
the other's is measured, too. All measurements of a policy are made at the same time.

Everything that ends is written to OUT: `state.json`, `scores.json` with every question's scores,
`report.json` with paired 95 % intervals of each seed and of all together, and the adapters. A call
that runs out of time is continued by the next with `--continue OUT`: training resumes from its
checkpoint where the machine still has it, and from the saved adapter otherwise. With
`--max-repeats` what is measured greedily is measured again with `policy.max_repeats`, which
training can't have. Arguments that
follow are files and settings of `wideseek train`; `configs/cluster/one_gpu.yaml` among them has the
trainer in a process of its own. It runs on a CPU with the builtin engine, too, and then has the
trainer in a process of its own with `placement.trainer.processes=1`.

`gpu_learning.sh` starts all of it on several GPUs. What takes long without a GPU is made beforehand
by `--prepare --demos FOLDER`: a start then takes its demonstrations from there.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from gpu_first_run import Bench, Holder, Results, half, machine, opened
from tokenizers import Tokenizer

from wideseek_agents import Team, TeamConfig
from wideseek_apps.demos import Demonstrations, demo_set
from wideseek_apps.evaluation import wider
from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError, Episode, Task
from wideseek_core.config import load_arguments, load_config
from wideseek_core.exits import exit_on_error
from wideseek_eval import RunConfig, load_run, load_tasks, run_evaluation
from wideseek_eval.statistics.means import resampled_means
from wideseek_eval.statistics.summary import values_by_question
from wideseek_rl import (
    MetricLogger,
    PolicyModel,
    Rollouts,
    TorchTrainerConfig,
    TrainingLoop,
    TrainSummary,
)
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.models.hf_format import load_model
from wideseek_rl.models.lora import load_adapter, put_adapter, save_adapter
from wideseek_rl.models.policy import chosen_device
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.testing import known
from wideseek_rl.trainers.sft import SFTProgress, train_on_demos

START = time.monotonic()
METRICS = ("item_f1", "row_f1", "success", "format_valid", "score", "response_tokens")
ARMS = ("multi", "single")
WIDTHS = (1, 2, 5, 10)
DRAWS = 10_000
FEW_ROWS = 12
"""Rows up to which a table counts as small in comparisons: most that the default recipe has."""
MANY_ROWS = 24
"""Rows beyond which a table counts as large."""
FEWER = ", as many tokens"
"""Behind the name of an arm: the policy of the moment when it had as many tokens as the other."""
PEER_S = 30.0
"""How long an arm waits at its end for the other to end, too."""
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
                if file.suffix in (".json", ".jsonl", ".safetensors", ".st"):
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
        folder = work / "unpacked" / name.replace(" ", "_")
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
    arms: Sequence[str]
    other: Path | None
    """OUT of the process of the other arm, which makes the start."""
    peer: Path | None
    """OUT of the process of the other arm."""
    demos: Path | None
    """Folder of demonstrations that were made beforehand."""
    tokens: float
    """That each arm samples in training at most."""
    chunk: int
    """Steps between two checkpoints."""
    trials: int
    """Rollouts of each held-out question at temperature 1."""
    tasks: Sequence[Task]
    held_out: Sequence[Task]
    width_tasks: int
    single_share: float
    max_repeats: int | None = None
    """`policy.max_repeats` of further greedy measurements."""

    @property
    def ways(self) -> Sequence["Way"]:
        """How a policy is measured at the end of a stage."""
        ruled = () if self.max_repeats is None else (Way(heat=0.0, max_repeats=self.max_repeats),)
        return (SAMPLED, GREEDY, *ruled)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the turns of a measurement are sampled."""

    heat: float
    """Temperature."""
    max_repeats: int | None = None
    """As `policy.max_repeats`."""

    @property
    def name(self) -> str:
        """Such as `greedy, at most 3 repeats`."""
        heat = "greedy" if self.heat == 0 else f"T{self.heat:g}"
        return heat if self.max_repeats is None else f"{heat}, at most {self.max_repeats} repeats"


SAMPLED, GREEDY = Way(heat=1.0), Way(heat=0.0)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One policy of a seed, measured in one way."""

    seed: int
    policy: str
    """`start`, or the arm that was trained."""
    arm: str
    way: Way
    width: int | None = None

    @property
    def name(self) -> str:
        """Unique among measurements."""
        wide = "" if self.width is None else f" width {self.width}"
        return f"seed {self.seed}, {self.policy}, as {self.arm}, {self.way.name}{wide}"


def measurements(plan: Plan, seed: int, policy: str) -> Iterator[Measurement]:
    """All of a policy: the start as every arm, a trained one as it was trained; widths once."""
    for arm in plan.arms if policy == "start" else (policy.removesuffix(FEWER),):
        for way in (SAMPLED,) if policy.endswith(FEWER) else plan.ways:
            yield Measurement(seed=seed, policy=policy, arm=arm, way=way)
        if arm == "multi" and seed == plan.seeds[0] and not policy.endswith(FEWER):
            for width in WIDTHS if plan.width_tasks else ():
                yield Measurement(seed=seed, policy=policy, arm="multi", way=GREEDY, width=width)


def demonstrations(plan: Plan, seed: int, tokenizer: Tokenizer) -> Demonstrations:
    """Those of a seed, from `--demos` if they have been made there already."""
    sft = plan.start(seed)
    if plan.demos is None:
        return demo_set(sft.demos, sft.team, tokenizer, max_tokens=sft.max_tokens)
    path = plan.demos / f"demos_{seed}.npz"
    counts = path.with_suffix(".json")
    if not counts.exists():
        made = demo_set(sft.demos, sft.team, tokenizer, max_tokens=sft.max_tokens)
        plan.demos.mkdir(parents=True, exist_ok=True)
        made.rows.save(path)
        counts.write_text(json.dumps({"kept": made.kept, "left_out": made.left_out}) + "\n")
    found: dict[str, dict[str, int]] = json.loads(counts.read_text("utf-8"))
    return Demonstrations(
        rows=DemoSet.load(path),
        kept=Counter(found["kept"]),
        left_out=Counter(found["left_out"]),
    )


def supervised(plan: Plan, seed: int, progress: Progress, results: Results) -> None:
    """Trains the start of a seed and saves its adapter. Blocks."""
    sft, started = plan.start(seed), time.monotonic()
    assert sft.parent is not None
    assert sft.sft.lora is not None
    tokenizer = Tokenizer.from_file(str(sft.parent / "tokenizer.json"))
    made = demonstrations(plan, seed, tokenizer)
    prepared = time.monotonic() - started
    model = load_model(sft.parent, chosen_device(sft.device), torch.float32)
    model.requires_grad_(True)

    def report(now: SFTProgress) -> None:
        results.note(f"seed {seed}, warm-up", [now.updates, round(known(now.loss), 4)])

    last = train_on_demos(model, made.rows, sft.sft, on_progress=report)
    folder = plan.config.folder / f"start_{seed}"
    save_adapter(model, folder, sft.parent)
    half(folder, progress.out, f"start {seed}")
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # room for the trainer and for servers beside it
    progress.stages[f"{seed} start"] = {
        "done": True,
        "loss": round(known(last.loss), 4),
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


class Enough(Exception):
    """An arm has sampled all the tokens that it may."""


class Counted:
    """A metric logger that adds up what training costs, and keeps adapters on the way."""

    def __init__(self, learning: "Learning", seed: int, arm: str, trainer: Any) -> None:
        self._learning, self._seed, self._arm, self._trainer = learning, seed, arm, trainer
        self._facts: dict[str, Any] = learning.progress.stages[f"{seed} {arm}"]

    async def start(self, step: int) -> None:
        """Nothing is opened."""

    async def write(self, report: StepReport) -> None:
        """Counts one step."""
        if not report.groups:
            return
        metrics, facts = report.metrics, self._facts
        facts["steps"] += 1
        facts["tokens"] += int(metrics["tokens/generated"])
        facts["tokens_run"] += int(metrics.get("update/tokens_run", 0))
        facts["seconds"] = round(facts["seconds"] + metrics["time/step_s"], 2)
        keys = ("reward/mean", "score/item_f1", "score/format_rate", "reward/std_in_group")
        keys += ("update/entropy", "update/mismatch", "update/grad_norm", "staleness/mean")
        keys += ("groups/zero_variance", "time/rollouts_s", "time/update_s", "time/sync_s")
        shown = {key: round(metrics.get(key, np.nan), 5) for key in keys}
        name = f"seed {self._seed}, {self._arm}"
        self._learning.results.note(name, {**facts, **shown})
        with (self._learning.progress.out / "metrics.jsonl").open("a") as file:
            line = {"seed": self._seed, "arm": self._arm, **facts, **metrics}
            file.write(json.dumps(line) + "\n")
        if facts["steps"] % self._learning.plan.chunk == 0:
            await self.keep()
        if facts["tokens"] >= self._learning.plan.tokens:
            raise Enough

    async def keep(self) -> None:
        """Saves the adapter as it is now, and how far everything is."""
        work = self._learning.plan.config.folder / f"kept_{self._seed}_{self._arm}"
        work.mkdir(parents=True, exist_ok=True)
        await self._trainer.save(work)
        out, name = self._learning.progress.out, f"{self._arm} {self._seed}"
        half(work / "adapter", out, f"{name} at {self._facts['tokens']}")
        half(work / "adapter", out, name)
        self._learning.progress.write()

    async def close(self) -> None:
        """Nothing is buffered."""


async def fit(
    bench: Bench,
    config: TrainConfig,
    team: Team,
    trainer: Any,
    tasks: Sequence[Task],
    *loggers: MetricLogger,
) -> TrainSummary:
    """The loop of `wideseek train`."""
    rl = config.rl

    async def sample(task: Task, trial: int, seed: int) -> Episode:
        return await team.run(task, trial, seed)

    rollouts = Rollouts(
        sample,
        bench.judge,
        group_size=rl.group_size,
        max_concurrent=rl.max_concurrent_rollouts,
        seed=rl.seed,
        rollout_deadline_s=rl.rollout_deadline_s,
        group_deadline_s=rl.group_deadline_s,
    )
    loop = TrainingLoop(
        rl,
        trainer,
        rollouts,
        folder=config.folder,
        sync=bench.engine.inner.sync(trainer),
        loggers=loggers,
        trainer_config=config.trainer,
        publish_start=True,
    )
    return await loop.fit(tasks)


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
        """GRPO of one arm until the time is over or its tokens are spent."""
        name = f"{seed} {arm}"
        empty = {"steps": 0, "tokens": 0, "tokens_run": 0, "seconds": 0.0, "parts": 0}
        facts = self.progress.stages.setdefault(name, empty)
        folder = self.plan.config.folder / f"{arm}_{seed}_{facts['parts']}"
        spent = facts["seconds"]
        if not (folder / "checkpoints").is_dir():  # another machine, or the beginning
            facts["parts"] += 1
            spent = 0.0
            folder = self.plan.config.folder / f"{arm}_{seed}_{facts['parts']}"
        first = arm if facts["steps"] else "start"
        adapter = self.progress.adapter(f"{first} {seed}", folder)
        policy = self.plan.config.policy.model_copy(update={"adapter": adapter})
        config = self.plan.config.model_copy(update={"folder": folder})
        async with self.bench.trainer(config, PolicyModel(policy)) as trainer:
            counted = Counted(self, seed, arm, trainer)
            with suppress(Enough):
                await self.fit(config, trainer, seed, arm, counted, spent)
            await counted.keep()
        facts["done"] = True
        self.progress.write()

    async def fit(
        self,
        config: TrainConfig,
        trainer: Any,
        seed: int,
        arm: str,
        counted: Counted,
        spent: float,
    ) -> None:
        """As many steps as fit."""
        parts: int = self.progress.stages[f"{seed} {arm}"]["parts"]
        checkpoint = config.rl.checkpoint.model_copy(
            update={"every_steps": self.plan.chunk, "keep_last": 1}
        )
        rl = config.rl.model_copy(
            update={
                "seed": 100 * seed + parts,
                "steps": 100_000,
                "max_seconds": max(spent + self.results.left - self.reserve_s, 1.0),
                "evaluate_every": 0,
                "checkpoint": checkpoint,
            }
        )
        team = self.bench.team(config.policy.temperature, self.plan.team(arm))
        await fit(
            self.bench,
            config.model_copy(update={"rl": rl}),
            team,
            trainer,
            self.plan.tasks,
            counted,
        )

    async def measure(self, seed: int, policy: str) -> None:
        """Sends a policy to the engine and measures it in all ways that are missing, at once."""
        missing = [
            one
            for one in measurements(self.plan, seed, policy)
            if one.name not in self.progress.scores
        ]
        if not missing:
            return
        await self.send(f"{policy} {seed}")
        parts = [
            self.results.part(one.name, lambda one=one: self.scored(one), needs_s=3)
            for one in missing
        ]
        await asyncio.gather(*parts)
        left = [one.name for one in missing if one.name not in self.progress.scores]
        if left:
            raise ToBeContinued(f"{len(left)} measurements of {policy} are left")

    async def as_many_tokens(self, seed: int, arm: str) -> None:
        """Measures the arm as it was when it had sampled as many tokens as the other has now."""
        if self.plan.peer is None:
            return
        other = next(one for one in ARMS if one != arm)
        end = time.monotonic() + min(PEER_S, self.results.left / 2)
        while (theirs := _stage(self.plan.peer, f"{seed} {other}")).get("done") is None:
            if time.monotonic() > end:
                self.results.note("the other arm", "has not ended")
                return
            await asyncio.sleep(0.5)
        kept = {int(path.stem.rpartition(" ")[2]): path for path in self._kept(seed, arm)}
        fewer = [tokens for tokens in kept if tokens <= 1.02 * theirs["tokens"]]
        if not fewer or max(fewer) == max(kept):
            return
        out, name = self.progress.out, f"{arm}{FEWER} {seed}"
        shutil.copyfile(kept[max(fewer)], out / f"{name}.safetensors")
        facts = {"tokens": max(fewer), "of the other": theirs["tokens"]}
        self.progress.stages[f"{seed} {arm}{FEWER}"] = facts
        self.results.note(name, facts)
        await self.measure(seed, f"{arm}{FEWER}")

    def _kept(self, seed: int, arm: str) -> Iterator[Path]:
        return self.progress.out.glob(f"{arm} {seed} at *.safetensors")

    async def send(self, policy: str) -> None:
        """Brings a saved adapter's weights to the engine."""
        model, trainer = self.bench.local.model, self.plan.config.trainer
        assert isinstance(trainer, TorchTrainerConfig)
        assert trainer.lora is not None
        folder = self.progress.adapter(policy, self.plan.config.folder)
        started = time.monotonic()
        module = model.load_base()
        put_adapter(module, trainer.lora)
        load_adapter(module, folder)
        async with self.bench.engine.inner.sync(Holder(ModuleSource(module))).updating() as commit:
            commit(SENT_VERSION + self.sent)
        self.sent += 1
        self.results.note(f"sent {policy}", round(time.monotonic() - started, 2))

    async def scored(self, one: Measurement) -> None:
        """Measures, and keeps every question's scores."""
        tasks = self.plan.held_out
        if one.width is not None:
            tasks = tasks[: self.plan.width_tasks]
        team = self.bench.team(
            one.way.heat, self.plan.team(one.arm, one.width), max_repeats=one.way.max_repeats
        )

        async def answer(task: Task, trial: int) -> Episode:
            return await team.run(task, trial, seed=1000 * one.seed + trial)

        started = time.monotonic()

        folder = self.plan.config.folder / "measured" / one.name.replace(" ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        trials = self.plan.trials if one.way.heat else 1
        run = RunConfig(folder=folder, trials=trials, max_concurrent=128, give_up_after=0)
        await run_evaluation(run, tasks, answer, self.bench.judge, settings={"name": one.name})
        results = tuple(load_run(folder).results)
        scores = {metric: values_by_question(results, metric) for metric in METRICS}
        self.progress.scores[one.name] = scores
        self.progress.write()
        means = {
            m: round(fmean(fmean(v) for v in found.values()), 4)
            for m, found in scores.items()
            if found
        }
        seconds = round(time.monotonic() - started, 1)
        self.results.note(one.name, {"questions": len(tasks), "seconds": seconds, **means})

    async def seed(self, seed: int) -> None:
        """Everything of a seed that is not done yet."""
        if not self.progress.done(f"{seed} start"):
            if self.results.left < self.reserve_s:
                raise ToBeContinued(f"seed {seed} is left")
            await asyncio.to_thread(begin, self.plan, seed, self.progress, self.results)
        await self.measure(seed, "start")
        for arm in self.plan.arms:
            if not self.progress.done(f"{seed} {arm}"):
                await self.train(seed, arm)
        for arm in self.plan.arms:
            await self.measure(seed, arm)
            await self.as_many_tokens(seed, arm)


def begin(plan: Plan, seed: int, progress: Progress, results: Results) -> None:
    """Makes the start of a seed, or waits for that of the other process. Blocks."""
    if plan.other is None:
        supervised(plan, seed, progress, results)
        return
    while not _stage(plan.other, f"{seed} start").get("done"):
        if results.left < 0:
            raise ToBeContinued("the other process has not made the start")
        time.sleep(0.3)
    for name in ("adapter_config.json", f"start {seed}.safetensors"):
        shutil.copyfile(plan.other / name, progress.out / name)
    progress.stages[f"{seed} start"] = _stage(plan.other, f"{seed} start")
    progress.write()


def _stage(out: Path, name: str) -> dict[str, Any]:
    """A stage of another process; empty before it has begun, or while its file is written."""
    with suppress(OSError, ValueError):
        return json.loads((out / "state.json").read_text("utf-8")).get(name, {})
    return {}


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
    "trained, as many tokens: single agent to team": (
        (f"single{FEWER}", "single"),
        (f"multi{FEWER}", "multi"),
    ),
    "start: single agent to team": (("start", "single"), ("start", "multi")),
}
"""Pairs of a policy and the arm that it is measured as."""


def report(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All comparisons that can be made: seed by seed, together, by source and number of rows."""
    groups = question_groups(plan.held_out)
    found: dict[str, Any] = {}
    for title, both in COMPARED.items():
        for way in plan.ways:
            pairs = [_sides(progress, seed, both, way) for seed in plan.seeds]
            whole = [pair for pair in pairs if pair is not None]
            if not whole:
                continue
            found[f"{title}, {way.name}"] = {
                metric: _compared([(a[metric], b[metric]) for a, b in whole], groups)
                for metric in METRICS
            }
    return found


def question_groups(tasks: Sequence[Task]) -> dict[str, set[str]]:
    """Ids of the questions of each source, and of those with few and with many rows in each.

    Those of more than 12 rows are also in one group of 13 to 24 rows and one of more.
    """
    found: dict[str, set[str]] = {}
    for task in tasks:
        source = task.source or "all"
        sizes = [f"{source}, {size} rows" for size in _sizes(task.rows)]
        for name in (source, *sizes):
            found.setdefault(name, set()).add(task.id)
    return dict(sorted(found.items()))


def _sizes(rows: int) -> Sequence[str]:
    """The names of the sizes that a table of so many rows is counted with."""
    if rows <= FEW_ROWS:
        return (f"at most {FEW_ROWS}",)
    part = f"{FEW_ROWS + 1} to {MANY_ROWS}" if rows <= MANY_ROWS else f"more than {MANY_ROWS}"
    return (f"more than {FEW_ROWS}", part)


ByMetric = dict[str, dict[str, list[float]]]


def _named(progress: Progress, seed: int, what: tuple[str, str], way: Way) -> ByMetric | None:
    policy, arm = what
    name = Measurement(seed=seed, policy=policy, arm=arm, way=way).name
    return progress.scores.get(name)


def _sides(
    progress: Progress, seed: int, both: tuple[tuple[str, str], tuple[str, str]], way: Way
) -> tuple[ByMetric, ByMetric] | None:
    """What is compared of a seed, if it was measured in this way.

    With as many tokens one arm is as it was earlier, the other at its end.
    """
    sides = [_named(progress, seed, side, way) for side in both]
    if any(side is not None for side in sides):
        for at, (policy, arm) in enumerate(both):
            if sides[at] is None and policy.endswith(FEWER):
                sides[at] = _named(progress, seed, (policy.removesuffix(FEWER), arm), way)
    first, second = sides
    return None if first is None or second is None else (first, second)


Values = Mapping[str, Sequence[float]]


def _compared(
    pairs: Sequence[tuple[Values, Values]], groups: Mapping[str, set[str]]
) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": [paired(a, b) for a, b in pairs]}
    both = pooled(pairs)
    found["together"] = paired(*both)
    for name, ids in groups.items():
        some = [{q: v for q, v in side.items() if q in ids} for side in both]
        if all(some):
            found[name] = paired(*some)
    return found


def pooled(pairs: Sequence[tuple[Values, Values]]) -> tuple[dict[str, list[float]], ...]:
    """For both sides the values of each question, one a seed: the mean of its trials.

    A question counts with the seeds that have it on both sides.
    """
    sides: tuple[dict[str, list[float]], ...] = ({}, {})
    for pair in pairs:
        for question in sorted(pair[0].keys() & pair[1].keys()):
            for side, values in zip(sides, pair, strict=True):
                side.setdefault(question, []).append(fmean(values[question]))
    return sides


def write_report(plan: Plan, progress: Progress) -> None:
    """Writes all comparisons."""
    text = json.dumps(report(plan, progress), indent=1) + "\n"
    (progress.out / "report.json").write_text(text, "utf-8")


async def run(plan: Plan, progress: Progress, results: Results, reserve_s: float) -> None:
    """As many stages as there is time for."""
    plain = plan.config.policy.model_copy(update={"adapter": None})
    base = plan.config.model_copy(update={"policy": plain})
    ahead = None
    first = plan.seeds[0]
    if not progress.done(f"{first} start"):  # beside the start of the engine
        ahead = asyncio.create_task(asyncio.to_thread(begin, plan, first, progress, results))
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
    parser.add_argument("--reserve", type=float, default=70, help="of it behind training")
    parser.add_argument("--seed", type=int, action="append", help="1, 2 and 3 if not given")
    parser.add_argument("--arms", default=",".join(ARMS), help="what is trained, by ,")
    parser.add_argument("--other", type=Path, help="OUT of the other arm's process, to begin with")
    parser.add_argument("--peer", type=Path, help="OUT of the other arm's process, to compare with")
    parser.add_argument("--merge", help="only report on several OUT, by ,")
    parser.add_argument("--demos", type=Path, help="folder where demonstrations are kept")
    parser.add_argument("--prepare", action="store_true", help="only make those of --demos")
    parser.add_argument("--tokens", type=float, default=1e12, help="that each arm may sample")
    parser.add_argument("--chunk", type=int, default=8, help="steps between two checkpoints")
    parser.add_argument("--trials", type=int, default=2, help="of a question at temperature 1")
    parser.add_argument(
        "--single-share", type=float, default=0.3, help="of the questions, shown as a single agent"
    )
    parser.add_argument(
        "--max-repeats", type=int, help="policy.max_repeats of a second greedy measurement"
    )
    parser.add_argument("--eval-tasks", type=int, default=120, help="held-out questions")
    parser.add_argument("--width-tasks", type=int, default=40, help="of them, for each width")
    given = parser.parse_intermixed_args()
    if unknown := set(given.arms.split(",")) - set(ARMS):
        parser.error(f"--arms: {', '.join(sorted(unknown))}: they are {', '.join(ARMS)}")
    if given.max_repeats is not None and given.max_repeats < 2:
        parser.error("--max-repeats: at least 2")
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_arguments(TrainConfig, given.settings, usage="").config
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    assert not {task.id for task in tasks} & {task.id for task in held_out}
    plan = Plan(
        config=config,
        sft=load_config(SftConfig, given.sft.split(";")),
        seeds=given.seed or (1, 2, 3),
        arms=given.arms.split(","),
        other=given.other,
        peer=given.peer or given.other,
        demos=given.demos,
        tokens=given.tokens,
        chunk=given.chunk,
        trials=given.trials,
        tasks=tasks,
        held_out=held_out[: given.eval_tasks],
        width_tasks=given.width_tasks,
        single_share=given.single_share,
        max_repeats=given.max_repeats,
    )
    progress = Progress.resumed(given.out, given.former)
    if given.merge:
        for other in given.merge.split(","):
            if not (Path(other) / "scores.json").is_file():
                raise ConfigError(f"--merge: {other} has no scores.json")
            found = Progress.resumed(Path(other), None)
            progress.scores |= found.scores
            progress.stages |= found.stages
        progress.write()
        write_report(plan, progress)
        return
    if given.prepare:
        assert plan.sft.parent is not None
        tokenizer = Tokenizer.from_file(str(plan.sft.parent / "tokenizer.json"))
        for seed in plan.seeds:
            demonstrations(plan, seed, tokenizer)
        return
    results = Results(given.out / "learning.json", START + given.seconds)
    results.note("machine", machine())
    asyncio.run(run(plan, progress, results, given.reserve))
    write_report(plan, progress)
    stages = [f"{seed} {part}" for seed in plan.seeds for part in ("start", *plan.arms)]
    missing = [stage for stage in stages if not progress.done(stage)]
    missing += [
        one.name
        for seed in plan.seeds
        for policy in ("start", *plan.arms)
        for one in measurements(plan, seed, policy)
        if one.name not in progress.scores
    ]
    results.note("missing", missing)
    results.note("total seconds", round(time.monotonic() - START, 1))
    sys.exit(0 if not missing else 75)  # 75: to be continued


if __name__ == "__main__":
    with exit_on_error():
        main()
