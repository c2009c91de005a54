"""A real language model through all parts: warm-up, rollouts of a server, training, evaluation.

    python tests/benchmarks/gpu_first_run.py warmup OUT --seconds 300 \
        --sft configs/sft_smollm2.yaml configs/train/smollm2.yaml configs/engine/vllm.yaml
    python tests/benchmarks/gpu_first_run.py train OUT --seconds 560 \
        configs/train/smollm2.yaml configs/engine/vllm.yaml

`warmup` trains on demonstrations, keeps an adapter at several losses, and measures each with the
server: form, rewards and their spread. `train` is `wideseek train` with more measurements and a
deadline. Both write OUT/*.json after every part, and adapters in half precision; arguments that
follow are files and settings of `wideseek train`. It runs on a CPU with the builtin engine, too.
"""

import argparse
import asyncio
import json
import math
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from wideseek_agents import Team, TeamConfig
from wideseek_apps.demos import demo_set
from wideseek_apps.evaluation import wider
from wideseek_apps.judging import open_reachable_judge
from wideseek_apps.local_model import LocalModel, open_local
from wideseek_apps.processes import RunProcesses, open_processes
from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig, check_train
from wideseek_apps.world import open_world
from wideseek_core import Episode, Judge, Task
from wideseek_core.config import load_arguments, load_config
from wideseek_core.exits import exit_on_error
from wideseek_eval import RunConfig, load_run, load_tasks, run_evaluation
from wideseek_eval.statistics.summary import summarize
from wideseek_rl import (
    PolicyModel,
    Rollouts,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingLoop,
    TrainSummary,
    build_samples,
    open_trainer,
)
from wideseek_rl.batch.packing import BatchShape, plan
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.lora import load_adapter, put_adapter, save_adapter
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.testing import known
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.sft import SFTProgress, held_out_loss, train_on_demos
from wideseek_tools.open import Tools

START = time.monotonic()
SNAPSHOT_VERSION = 1_000_000
"""First version of measured snapshots: training counts from 0 and must not find their prefixes."""
HELD_OUT_DEMOS = 0.02
TRIALS: tuple[dict[str, Any], ...] = ({}, {"attention": "rows", "compile": False})
"""Ways to train that are tried behind the warm-up."""
METRICS = ("score", "item_f1", "row_f1", "success", "format_valid")
EFFORT = ("subagents", "searches", "accesses", "response_tokens", "prompt_tokens")


@dataclass
class Results:
    """What has been measured so far; written after every note."""

    path: Path
    deadline: float
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def note(self, name: str, value: Any) -> None:
        self.values[name] = value
        sys.stdout.write(f"[{time.monotonic() - START:6.1f}s] {name}: {json.dumps(value)}\n")
        sys.stdout.flush()
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    async def part(self, name: str, work: Callable[[], Awaitable[None]], needs_s: float) -> None:
        """One part, if there is time for it; the others still count when it fails."""
        if self.left < needs_s:
            self.note(f"LEFT OUT {name}", f"{self.left:.0f} s left")
            return
        started = time.monotonic()
        try:
            await asyncio.wait_for(work(), max(self.left, 1))
        except Exception as error:  # noqa: BLE001 - the other parts still count
            self.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:800])
            traceback.print_exc()
        self.note(f"seconds of {name}", round(time.monotonic() - started, 1))


def machine() -> dict[str, str]:
    """What the figures were measured with."""
    found = {"torch": torch.__version__, "command": " ".join(sys.argv)}
    if torch.cuda.is_available():
        found["card"] = torch.cuda.get_device_name()
    for name in ("transformers", "peft", "vllm", "sglang"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True)
class EngineTotals:
    """What an engine has done since its last `reset`."""

    idle_s: float
    running_s: float
    most_running: int


@dataclass
class Watched:
    """An engine whose trainer and weight sync can be looked at, and that counts its requests."""

    inner: Any
    trainer: Any = None
    weight_sync: Any = None
    running: int = 0
    since: float = field(default_factory=time.monotonic)
    idle_s: float = 0.0
    """Without a request since the last `reset`."""
    running_s: float = 0.0
    """Seconds of all requests together."""
    most_running: int = 0

    async def generate(self, *arguments: Any, **options: Any) -> Any:
        self.count(1)
        try:
            return await self.inner.generate(*arguments, **options)
        finally:
            self.count(-1)

    def count(self, change: int) -> None:
        """Adds up to now, from when so many more requests run."""
        now = time.monotonic()
        self.running_s += self.running * (now - self.since)
        self.idle_s += (now - self.since) * (self.running == 0)
        self.since, self.running = now, self.running + change
        self.most_running = max(self.most_running, self.running)

    def totals(self) -> EngineTotals:
        """Up to now."""
        self.count(0)
        return EngineTotals(self.idle_s, self.running_s, self.most_running)

    def reset(self) -> None:
        """Begins to add up anew."""
        self.count(0)
        self.idle_s = self.running_s = 0.0
        self.most_running = self.running

    async def close_session(self, session: str) -> None:
        await self.inner.close_session(session)

    def sync(self, trainer: Any) -> Any:
        self.trainer = trainer
        self.weight_sync = self.inner.sync(trainer)
        return self.weight_sync


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Model, engine, tools and judge of a configuration, and teams over them."""

    config: TrainConfig
    tools: Tools
    local: LocalModel
    engine: Watched
    judge: Judge
    out: Path
    processes: RunProcesses

    def trainer(
        self, config: TrainConfig, model: PolicyModel
    ) -> AbstractAsyncContextManager[Trainer]:
        """The trainer of a configuration, where `placement.trainer` of the opened one says."""
        return open_trainer(config.trainer, config.rl.loss, model, self.processes.trainer)

    def team(
        self,
        temperature: float,
        config: TeamConfig | None = None,
        *,
        max_repeats: int | None = None,
    ) -> Team:
        """A team over the engine, with another `max_repeats` of its policy if one is given."""
        local = self.local
        if max_repeats is not None:
            ruled = local.config.model_copy(update={"max_repeats": max_repeats})
            local = replace(local, config=ruled)
        policy = local.policy(temperature)
        return Team(config or self.config.team, policy, self.tools.search, self.tools.pages)

    async def train(self, config: TrainConfig, model: PolicyModel, watch: "Watch") -> TrainSummary:
        """The loop of `wideseek train`, with one logger more."""
        rl, team = config.rl, self.team(config.policy.temperature)

        async def sample(task: Task, trial: int, seed: int) -> Episode:
            return await team.run(task, trial, seed)

        rollouts = Rollouts(
            sample,
            self.judge,
            group_size=rl.group_size,
            max_concurrent=rl.max_concurrent_rollouts,
            seed=rl.seed,
        )
        async with self.trainer(config, model) as trainer:
            loop = TrainingLoop(
                rl,
                trainer,
                rollouts,
                folder=config.folder,
                sync=self.engine.sync(trainer),
                loggers=[watch],
                trainer_config=config.trainer,
            )
            return await loop.fit(load_tasks(config.data))

    async def measure(
        self, name: str, tasks: Sequence[Task], team: Team, trials: int = 1
    ) -> dict[str, Any]:
        """Metrics and effort over some tasks, by source."""

        async def answer(task: Task, trial: int) -> Episode:
            return await team.run(task, trial, seed=trial)

        folder = self.config.folder / "measured" / name
        shutil.rmtree(folder, ignore_errors=True)
        started = time.monotonic()
        run = RunConfig(folder=folder, trials=trials, max_concurrent=128, give_up_after=0)
        await run_evaluation(run, tasks, answer, self.judge, settings={"name": name})
        results = tuple(load_run(folder).results)
        summary = summarize(results)
        found: dict[str, Any] = {
            "rollouts": len(results),
            "seconds": round(time.monotonic() - started, 1),
            "overall": _row(summary.overall),
            **{source: _row(part) for source, part in summary.sources.items()},
        }
        if trials > 1:
            found["spread"] = round(_spread(results), 4)
        return found


def _row(part: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"questions": part.questions}
    for name in METRICS:
        if name in part.metrics:
            mean = part.metrics[name].avg
            values[name] = [round(x, 4) for x in (mean.mean, mean.low, mean.high)]
    return values | {n: round(part.effort[n].mean, 1) for n in EFFORT if n in part.effort}


def _spread(results: Sequence[Any]) -> float:
    """Standard deviation of the score among the trials of a task, mean over tasks."""
    groups: dict[str, list[float]] = {}
    for result in results:
        groups.setdefault(result.task_id, []).append(result.score.value if result.score else 0.0)
    return statistics.mean(statistics.stdev(g) for g in groups.values() if len(g) > 1)


@asynccontextmanager
async def opened(config: TrainConfig, out: Path) -> AsyncGenerator[Bench]:
    """Everything that rollouts need."""
    async with (
        open_processes(config) as processes,
        open_world(config.world) as tools,
        open_local(processes.config.policy, processes.engines) as local,
        open_reachable_judge(config.judge) as judge,
    ):
        engine = Watched(local.engine)
        yield Bench(
            config=config,
            tools=tools,
            local=replace(local, engine=cast(Any, engine)),
            engine=engine,
            judge=judge,
            out=out,
            processes=processes,
        )


def half(folder: Path, out: Path, name: str) -> None:
    """Copies an adapter in half precision, small enough to keep, as one file beside its config."""
    shutil.copyfile(folder / "adapter_config.json", out / "adapter_config.json")
    tensors = load_file(folder / "adapter_model.safetensors")
    halves = {key: tensor.half() for key, tensor in tensors.items()}
    save_file(halves, out / f"{name}.safetensors", metadata={"format": "pt"})


class Watch:
    """A metric logger that keeps what the loop does not: versions of tokens and weight updates."""

    def __init__(self, bench: Bench, results: Results, every: int) -> None:
        self._bench, self._results, self._every = bench, results, every
        self._file = bench.out / "metrics.jsonl"
        self.groups: Sequence[Sequence[Any]] = ()
        self.seconds: list[float] = []

    async def start(self, step: int) -> None:
        self._results.note("training begins at step", step)
        self._last = time.monotonic()

    async def write(self, report: StepReport) -> None:
        if not report.groups:
            return
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last, self.groups = now, report.groups
        episodes = [scored.episode for group in report.groups for scored in group]
        turns = [t for e in episodes for agent in e.trajectories for t in agent.turns]
        versions = sorted({span.version for turn in turns for span in turn.versions})
        sampled = [x for turn in turns for x in turn.logprobs]
        extra: dict[str, Any] = {
            "step": report.step,
            "at": round(now - START, 2),
            "versions": versions,
            "sampled_nll": -statistics.fmean(sampled) if sampled else math.nan,
        }
        last = getattr(self._bench.engine.weight_sync, "last", None)
        if last is not None:
            extra["sync"] = {
                "version": last.version,
                "servers_verified": last.servers - len(last.failed),
                "paused_s": round(last.paused_s, 4),
                "sent_s": round(last.sent_s, 4),
                "verified_s": round(last.verified_s, 4),
            }
        for source in {scored.source for group in report.groups for scored in group}:
            values = [s.score.value for g in report.groups for s in g if s.source == source]
            extra[f"score/{source or 'all'}"] = statistics.fmean(values)
        with self._file.open("a") as file:
            file.write(json.dumps({**extra, **report.metrics}) + "\n")
        keys = ("reward/mean", "score/item_f1", "score/format_rate", "reward/std_in_group")
        keys += ("update/entropy", "update/mismatch", "time/rollouts_s", "time/update_s")
        shown = {key: round(report.metrics.get(key, math.nan), 4) for key in keys}
        self._results.note("step", {**extra, **shown})
        if report.step % self._every == 0:
            await self.keep("adapter")

    async def keep(self, name: str) -> None:
        """Saves the adapter as it is now."""
        trainer = self._bench.engine.trainer
        work = self._bench.config.folder / "kept"
        work.mkdir(parents=True, exist_ok=True)
        await trainer.save(work)
        half(work / "adapter", self._bench.out, name)

    async def close(self) -> None:
        return None


def shared_tokens(groups: Sequence[Sequence[Any]], max_tokens: int) -> dict[str, Any]:
    """Positions that train a step: a row a turn, a row an agent, and prefix trees."""
    samples: list[Any] = []
    per_turn = 0
    for number, group in enumerate(groups):
        for scored in group:
            for agent in scored.episode.trajectories:
                turns = [TrainedTurn(turn=t, weight=1.0, advantage=1.0) for t in agent.turns]
                per_turn += sum(len(t.prompt_ids) + len(t.response_ids) for t in agent.turns)
                samples += build_samples(turns, group=number)
    shape = BatchShape(max_tokens=max_tokens, kind="packed", share=True)
    trees = [tree for batch in plan(samples, shape) for tree in batch]
    shared = sum(len(tree.ids) for tree in trees)
    rollouts = sum(map(len, groups))
    return {
        "rollouts": rollouts,
        "per turn rows": per_turn,
        "per agent rows": int(sum(map(len, samples))),
        "prefix trees": shared,
        "share": round(shared / max(per_turn, 1), 4),
        "tokens a rollout": round(shared / max(rollouts, 1)),
    }


@dataclass
class Snapshots:
    """Adapters kept when the loss of the warm-up passes a bound, or a time is over."""

    model: Decoder
    base: Path
    folder: Path
    results: Results
    bounds: list[float]
    kept: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    def __call__(self, progress: SFTProgress) -> None:
        values = {
            "loss": round(known(progress.loss), 4),
            "updates": progress.updates,
            "tokens": progress.tokens,
            "tokens_per_s": round(progress.tokens_per_s),
            "seconds": round(progress.seconds, 1),
        }
        self.results.note("warm-up", values)
        if self.bounds and known(progress.loss) <= self.bounds[0]:
            while self.bounds and known(progress.loss) <= self.bounds[0]:
                self.bounds.pop(0)
            self.keep(values)

    def keep(self, values: dict[str, float]) -> None:
        name = f"loss_{values['loss']:.3f}"
        save_adapter(self.model, self.folder / name, self.base)
        self.kept[name] = values


def warm_up(sft: SftConfig, results: Results, folder: Path, bounds: list[float]) -> Snapshots:
    """The supervised stage on the GPU, in a thread beside the start of the server."""
    assert sft.parent is not None
    from wideseek_rl.models.hf_format import load_model
    from wideseek_rl.models.policy import chosen_device

    tokenizer = Tokenizer.from_file(str(sft.parent / "tokenizer.json"))
    started = time.monotonic()
    made = demo_set(sft.demos, sft.team, tokenizer, max_tokens=sft.max_tokens)
    rows = list(range(len(made.rows)))
    apart = rows[: max(1, int(HELD_OUT_DEMOS * len(rows)))]
    rest = rows[len(apart) :]
    train, held_out = (type(made.rows).from_rows(_pairs(made.rows, part)) for part in (rest, apart))
    results.note(
        "demonstrations",
        {
            "rows": len(made.rows),
            "tokens": made.rows.tokens,
            "trained": int(made.rows.mask.sum()),
            "kept": dict(made.kept),
            "left_out": dict(made.left_out),
            "p50, p99 length": [int(x) for x in np.percentile(made.rows.lengths, [50, 99])],
            "seconds": round(time.monotonic() - started, 1),
        },
    )
    model = load_model(sft.parent, chosen_device(sft.device), torch.float32)
    model.requires_grad_(True)
    assert sft.sft.lora is not None
    torch.cuda.reset_peak_memory_stats() if torch.cuda.is_available() else None
    results.note("held-out loss before", round(held_out_loss(model, held_out, sft.sft), 4))
    snapshots = Snapshots(model, sft.parent, folder, results, bounds)
    last = train_on_demos(model, train, sft.sft, on_progress=snapshots)
    snapshots.keep(
        {"loss": round(known(last.loss), 4), "updates": last.updates, "seconds": last.seconds}
    )
    results.note("held-out loss after", round(held_out_loss(model, held_out, sft.sft), 4))
    if torch.cuda.is_available():
        results.note("warm-up peak GiB", round(torch.cuda.max_memory_allocated() / 2**30, 1))
    return snapshots


def _pairs(rows: Any, chosen: Sequence[int]) -> list[Any]:
    return [rows.row(index) for index in chosen]


@dataclass
class Holder:
    """Weights to send, as a trainer has them."""

    weights: ModuleSource


async def choose(
    bench: Bench, snapshots: Snapshots, results: Results, sft: SftConfig, tasks: Sequence[Task]
) -> str:
    """Sends each snapshot to the engine and measures it on tasks that may be trained on."""
    module = bench.local.model.load_base()  # that of the policy may be the builtin engine's own
    assert sft.sft.lora is not None
    put_adapter(module, sft.sft.lora)
    weight_sync = bench.engine.inner.sync(Holder(ModuleSource(module)))
    scores: dict[str, float] = {}
    for number, (name, values) in enumerate(snapshots.kept.items()):

        async def one(number: int = number, name: str = name, values: Any = values) -> None:
            async with weight_sync.updating() as commit:
                load_adapter(module, snapshots.folder / name)
                commit(SNAPSHOT_VERSION + number)
            found = await bench.measure(name, tasks, bench.team(1.0), trials=4)
            results.note(f"start {name}", {**values, **found})
            valid, score = (found["overall"][key][0] for key in ("format_valid", "score"))
            scores[name] = found["spread"] * valid + 0.5 * score
            half(snapshots.folder / name, bench.out, name)

        await results.part(f"measuring {name}", one, needs_s=25)
    best = max(scores, key=lambda name: scores[name]) if scores else list(snapshots.kept)[-1]
    results.note("chosen start", best)
    return best


async def warmup(config: TrainConfig, sft: SftConfig, results: Results, given: Any) -> None:
    """Warm-up beside the start of the engine; then every snapshot is measured."""
    folder = config.folder / "snapshots"
    bounds = [float(bound) for bound in given.bounds.split(",")]
    plain = config.policy.model_copy(update={"adapter": None})
    base = config.model_copy(update={"policy": plain})
    training = asyncio.create_task(asyncio.to_thread(warm_up, sft, results, folder, bounds))
    async with opened(base, given.out) as bench:
        results.note("engine ready", round(time.monotonic() - START, 1))
        snapshots = await training
        tasks = load_tasks(config.data)[: given.tasks]
        best = await choose(bench, snapshots, results, sft, tasks)
        chosen = plain.model_copy(update={"adapter": folder / best})
        steps = config.rl.model_copy(update={"steps": given.steps, "max_seconds": None})
        for number, ways in enumerate(TRIALS):

            async def some_steps(number: int = number, ways: dict[str, Any] = ways) -> None:
                trainer = config.trainer.model_copy(update=ways)
                folder = config.folder / f"steps_{number}"
                small = config.model_copy(
                    update={"rl": steps, "folder": folder, "trainer": trainer}
                )
                watch = Watch(bench, results, every=1000)
                await bench.train(small, PolicyModel(chosen), watch)
                results.note("shared tokens", shared_tokens(watch.groups, 32768))

            await results.part(f"some steps, {ways or 'as configured'}", some_steps, needs_s=40)


async def run_training(config: TrainConfig, results: Results, given: Any) -> None:
    """The measurements before, as many steps as fit, and the measurements after."""
    tasks, held_out = load_tasks(config.data), load_tasks(config.evaluation.data)
    assert not {task.id for task in tasks} & {task.id for task in held_out}
    results.note("tasks", {"train": len(tasks), "evaluation": len(held_out)})
    async with opened(config, given.out) as bench:
        results.note("engine ready", round(time.monotonic() - START, 1))
        watch = Watch(bench, results, every=10)
        if not given.no_evaluation:
            await evaluations(bench, results, "before", held_out, given)
        seconds = results.left - given.reserve + given.spent
        limits = config.rl.model_copy(update={"max_seconds": max(seconds, 1.0)})
        limited = config.model_copy(update={"rl": limits})

        async def steps() -> None:
            summary = await bench.train(limited, bench.local.model, watch)
            results.note("steps", {"steps": summary.steps, "seconds": round(summary.seconds, 1)})

        await results.part("training", steps, needs_s=10)
        if watch.seconds:
            await results.part("keeping", lambda: watch.keep("adapter"), needs_s=3)
            results.note("step seconds, median", round(statistics.median(watch.seconds), 2))
        if not given.no_evaluation:
            await evaluations(bench, results, "after", held_out, given)
        if watch.groups:
            results.note("shared tokens", shared_tokens(watch.groups, 32768))
        if given.also is not None:
            await results.part(
                "the other adapter", lambda: other(bench, results, held_out, given), needs_s=20
            )
        save_optimizer(config.folder, given.out)


async def other(bench: Bench, results: Results, tasks: Sequence[Task], given: Any) -> None:
    """Sends another adapter to the same engine and measures it by width."""
    module = bench.local.model.load_base()
    trainer = bench.config.trainer
    assert isinstance(trainer, TorchTrainerConfig)
    assert trainer.lora is not None
    put_adapter(module, trainer.lora, given.also)
    weight_sync = bench.engine.inner.sync(Holder(ModuleSource(module)))
    async with weight_sync.updating() as commit:
        commit(SNAPSHOT_VERSION)
    await evaluations(bench, results, str(given.also), tasks, given)


async def evaluations(
    bench: Bench, results: Results, when: str, tasks: Sequence[Task], given: Any
) -> None:
    """Held-out tasks: sampled, greedy, alone, and by width."""
    plans: list[tuple[str, float, TeamConfig, int]] = [
        ("temperature 1", 1.0, bench.config.team, given.eval_tasks),
        ("greedy", 0.0, bench.config.team, given.eval_tasks),
        ("single agent", 1.0, wider(bench.config.team, 0), given.eval_tasks // 2),
    ]
    for width in (1, 2, 5, 10):
        plans.append((f"width {width}", 0.0, wider(bench.config.team, width), given.width_tasks))
    for name, temperature, team, count in plans:
        skipped = {"before": given.skip_before, "after": given.skip_after}.get(
            when, given.skip_also
        )
        if count <= 0 or name in skipped.split(","):
            continue

        async def one(
            name: str = name, heat: float = temperature, team: TeamConfig = team, n: int = count
        ) -> None:
            label = f"{when}: {name}"
            found = await bench.measure(label, tasks[:n], bench.team(heat, team))
            results.note(label, found)

        await results.part(f"{when}: {name}", one, needs_s=20)


PIECE = 15 * 2**20


def save_optimizer(folder: Path, out: Path) -> None:
    """The optimizer of the newest checkpoint, in pieces that are small enough to bring back."""
    files = sorted((folder / "kept").glob("optimizer*"))
    for file in files:
        content = file.read_bytes()
        for number in range(math.ceil(len(content) / PIECE)):
            part = content[number * PIECE : (number + 1) * PIECE]
            (out / f"{file.name}.{number}").write_bytes(part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("warmup", "train"))
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", help="files and settings of wideseek train")
    parser.add_argument(
        "--sft", default="configs/sft_smollm2.yaml", help="files and settings, by ;"
    )
    parser.add_argument("--seconds", type=float, default=500, help="time for everything")
    parser.add_argument("--reserve", type=float, default=90, help="of it behind training")
    parser.add_argument(
        "--bounds", default="0.3,0.15,0.08", help="losses at which adapters are kept"
    )
    parser.add_argument("--tasks", type=int, default=32, help="on which starts are compared")
    parser.add_argument("--steps", type=int, default=3, help="of the trial behind the warm-up")
    parser.add_argument("--eval-tasks", type=int, default=120)
    parser.add_argument("--width-tasks", type=int, default=40)
    parser.add_argument("--skip-before", default="", help="measurements to leave out, by ,")
    parser.add_argument("--skip-after", default="")
    parser.add_argument("--skip-also", default="")
    parser.add_argument("--spent", type=float, default=0, help="on training by earlier runs")
    parser.add_argument("--also", type=Path, help="another adapter to measure at the end")
    parser.add_argument("--no-evaluation", action="store_true")
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_arguments(TrainConfig, given.settings, usage="").config
    results = Results(given.out / f"{given.part}.json", START + given.seconds)
    results.note("machine", machine())
    if given.part == "warmup":
        sft = load_config(SftConfig, given.sft.split(";"))
        asyncio.run(warmup(config, sft, results, given))
    else:
        check_train(config)
        asyncio.run(run_training(config, results, given))
    results.note("total seconds", round(time.monotonic() - START, 1))


if __name__ == "__main__":
    with exit_on_error():
        main()
