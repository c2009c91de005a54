"""NeMo-Aligner on two GPUs: gradients, speed and memory, weights to vLLM, a run of ten steps.

    python tests/benchmarks/gpu_nemo.py OUT --nemo-python PYTHON
    python tests/benchmarks/gpu_nemo.py OUT --rehearse --nemo-python PYTHON

PYTHON is the interpreter of an environment with NeMo-Aligner; for `sync` and `run` the environment
that this is started in needs vLLM. Every part has a limit of its own, `--seconds` is one of all,
and OUT/nemo.json is written after every figure, so that a part that fails or takes too long costs
no other one. `--parts` picks some of `gradients`, `speed`, `speed_tp2`, `speed_unfused`, `sync` and
`run`, one after another; two processes with two GPUs each, by CUDA_VISIBLE_DEVICES, can share the
work and, with `--models`, the random models. (Not on the same GPUs: vLLM does not start where
another process gives memory back meanwhile.) `--rehearse` does all of it on the CPU, with tiny
models and a stub of vLLM, and leaves out cases that differ by a setting alone.
"""

import argparse
import asyncio
import fcntl
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_training import PEAK_FLOPS, documents, flops, random_model, shape
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer, models, pre_tokenizers

from wideseek_apps.served_engine import ServedEngine
from wideseek_rl import LossConfig, ModelConfig, OptimizerConfig, PolicyModel, TorchTrainerConfig
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.open import open_engine
from wideseek_rl.engines.served_config import VllmEngineConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.models.tensor_files import read_tensors
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.testing import known
from wideseek_rl.trainers.megatron.client import VARIABLES, NemoAlignerTrainer
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer, UpdateMetrics
from wideseek_rl.trainers.remote.client import Processes
from wideseek_rl.trainers.remote.group import RankCommand, open_ranks
from wideseek_rl.trainers.remote.requests import Describe, Described

START = time.monotonic()
STUB = "wideseek_core.testing.fake_vllm"
EAGER = ("--enforce-eager",)
"""Servers start in half the time, and nothing here depends on their speed."""
OPTIMIZER = OptimizerConfig(lr=1e-4, grad_clip=1.0, eps=1e-5)
SMALL_STEPS = OptimizerConfig(lr=1e-6, grad_clip=1.0, eps=1e-5)
"""With larger ones the ratio to the samples, which stay the same, soon passes its limit."""
DIVISIONS: dict[str, dict[str, Any]] = {
    "one rank": {},
    "two micro-batches": {"max_batch_tokens": 340},
    "four micro-batches": {"max_batch_tokens": 160},
    "TP 2": {"tensor_parallel": 2},
    "TP 2, sequence parallel": {"tensor_parallel": 2, "sequence_parallel": True},
    "DP 2": {"data_parallel": 2},
    "DP 2, distributed optimizer": {"data_parallel": 2, "distributed_optimizer": True},
    "PP 2": {"pipeline_parallel": 2},
    "PP 2, four micro-batches": {"pipeline_parallel": 2, "max_batch_tokens": 160},
}
LENGTHS = (40, 90, 31, 64, 77, 120, 58, 33, 45, 66)
UPDATES = 20
BATCHES = {
    "packed 32k": (7681, 2047, 5121, 3583, 8190, 2562, 3584),
    "rows of 8k": (8192,) * 4,
    "one of 32k": (32_768,),
}
WARM = 2
LIMITS_S = {
    "gradients": 90,
    "speed": 120,
    "speed_tp2": 160,
    "speed_unfused": 90,
    "sync": 170,
    "run": 300,
}
"""Of each part; what was found until then is kept."""


@dataclass
class Bench:
    """What has been measured, and how."""

    out: Path
    folder: Path
    models: Path
    nemo: Path
    rehearse: bool

    def __post_init__(self) -> None:
        self.values: dict[str, Any] = {}

    def note(self, name: str, value: object) -> None:
        """Keeps a figure, at once."""
        self.values[name] = value
        line = f"[{time.monotonic() - START:6.1f}s] {name}: {json.dumps(value, default=str)}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self.write()

    def write(self) -> None:
        """Writes all figures."""
        (self.out / "nemo.json").write_text(json.dumps(self.values, indent=1, default=str) + "\n")

    async def part(self, name: str, work: Callable[[], Awaitable[None]], limit_s: float) -> None:
        """One part; the others still count when it fails."""
        started = time.monotonic()
        try:
            await asyncio.wait_for(work(), 1000 if self.rehearse else limit_s)
        except Exception as error:  # noqa: BLE001 - the other parts still count
            self.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:900])
            traceback.print_exc()
        self.note(f"seconds of {name}", round(time.monotonic() - started, 1))

    @property
    def gpus(self) -> list[int]:
        """The GPUs to use, by the numbers that the driver gives them."""
        return [int(n) for n in os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")]

    def model(self, name: str) -> Path:
        """A folder with random weights in a shape; made once, by a process of its own."""
        folder = self.models / name
        with (self.models / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.rehearse and not folder.exists():
                make(folder, random_model(shape(name), torch.float32))
            elif not (folder / "config.json").exists():
                subprocess.run(
                    (sys.executable, __file__, str(folder), "--make", name), check=True, timeout=100
                )
        return folder

    def launcher(self, logs: str = "logs", gpu: int = 0) -> LocalLauncher:
        """Ranks on the GPUs in their order, from one on."""
        given = self.gpus[gpu:]
        devices = {} if self.rehearse else {f"trainer-{n}": (g,) for n, g in enumerate(given)}
        return LocalLauncher(self.out / logs, devices)

    @asynccontextmanager
    async def ranks(
        self,
        model: Path,
        *,
        steering: Path | None = None,
        logs: str = "logs",
        gpu: int = 0,
        **settings: Any,
    ) -> AsyncGenerator[NemoAlignerTrainer]:
        """Ranks of NeMo-Aligner, by default on the first GPUs; `steering` is that of the bench."""
        config = NemoAlignerConfig.model_validate({"optimizer": OPTIMIZER, **settings})
        setup = Setup(model=model.resolve(), config=config, loss=LossConfig())
        command = RankCommand(
            module="gpu_nemo_ranks" if steering else "wideseek_rl.trainers.megatron.ranks",
            setup=setup.model_dump_json(),
            count=config.ranks,
            gpus=0 if self.rehearse else 1,
            python=self._steered(steering) if steering else self.nemo,
            variables=VARIABLES,
            start_timeout_s=900 if self.rehearse else 120,
            request_timeout_s=900 if self.rehearse else 100,
        )
        async with open_ranks(command, self.launcher(logs, gpu)) as group:
            described = await group.ask(Describe(), Described)
            vocabulary = described.tensors[0][2][0]
            yield NemoAlignerTrainer(group, described, setup.loss, vocabulary)

    def _steered(self, steering: Path) -> Path:
        """An interpreter whose processes find the steered rank and its file."""
        script = steering.with_suffix(".sh")
        memory = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
        path = f"PYTHONPATH={Path(__file__).parent}:$PYTHONPATH"
        line = f'exec env {path} SRC="{Path(__file__).parent}:$SRC" {memory}'
        script.write_text(f'#!/bin/sh\n{line} STEERING={steering.resolve()} {self.nemo} "$@"\n')
        script.chmod(0o755)
        return script


async def gradients(bench: Bench) -> None:
    """Gradients and twenty updates against the torch trainer, in float32, all cases at once."""
    config = replace(shape("tiny"), layers=4)
    if not bench.rehearse:
        config = replace(
            config,
            hidden_size=512,
            heads=8,
            kv_heads=4,
            head_dim=64,
            ffn_size=1536,
            vocab_size=4096,
        )
    save_model(new_model(config, 0), bench.folder / "small", None)
    samples = [documents(LENGTHS, config.vocab_size, seed=n) for n in range(UPDATES)]
    wanted = asyncio.create_task(_torch_updates(bench, samples))
    chosen = ("one rank", "PP 2") if bench.rehearse else tuple(DIVISIONS)
    works = (
        bench.part(f"gradients, {name}", partial(_compared, bench, name, samples, wanted), 1000)
        for name in chosen
    )
    await asyncio.gather(*works)


@dataclass
class Trained:
    """What some updates did."""

    metrics: list[UpdateMetrics]
    first: dict[str, torch.Tensor]
    """Adam's first moments after one update: its gradient, but for a factor."""
    weights: dict[str, torch.Tensor]


async def _torch_updates(bench: Bench, batches: Sequence[list[TrainingSample]]) -> Trained:
    config = TorchTrainerConfig(
        optimizer=OPTIMIZER, share_prefixes=False, matmul="highest", compile=False
    )
    model = PolicyModel(ModelConfig(model=str(bench.folder / "small"), device="cpu"))
    launcher = bench.launcher("logs-gradients-torch")
    processes = Processes(launcher=launcher, count=1, gpus=0 if bench.rehearse else 1)
    async with open_trainer(config, LossConfig(), model, processes) as trainer:
        return await _updates(bench, "torch", trainer, batches)


async def _compared(
    bench: Bench,
    name: str,
    batches: Sequence[list[TrainingSample]],
    reference: asyncio.Task[Trained],
) -> None:
    logs = f"logs-gradients-{list(DIVISIONS).index(name)}"
    settings: dict[str, Any] = {"max_batch_tokens": 1000, **DIVISIONS[name]}
    async with bench.ranks(bench.folder / "small", logs=logs, **settings) as ranks:
        found = await _updates(bench, name, ranks, batches)
        drift = await ranks.drift()
    wanted = await asyncio.shield(reference)
    start = load_tensors(bench.folder / "small")
    errors = {n: _relative(found.first[n], wanted.first[n]) for n in wanted.first}
    worst = max(errors, key=lambda n: errors[n])
    change = {n: wanted.weights[n] - start[n] for n in start}
    norms = [
        abs(known(f.grad_norm) / known(w.grad_norm) - 1)
        for f, w in zip(found.metrics, wanted.metrics, strict=True)
    ]
    bench.note(
        f"gradients, {name}",
        {
            "worst tensor": (worst, errors[worst]),
            "all tensors": _distance(found.first, wanted.first) / _distance(wanted.first),
            "loss": abs(known(found.metrics[0].loss) / known(wanted.metrics[0].loss) - 1),
            "norm, first and worst update": (norms[0], max(norms)),
            f"change after {UPDATES}": _distance(found.weights, wanted.weights) / _distance(change),
            "drift": drift,
            "updates": sum(one.updates for one in found.metrics),
            "update_s": statistics.median(known(one.seconds) for one in found.metrics),
        },
    )


async def _updates(
    bench: Bench, name: str, trainer: Trainer, batches: Sequence[list[TrainingSample]]
) -> Trained:
    metrics = [await trainer.update(batches[0])]
    folder = bench.folder / f"saved-{name.replace(' ', '-')}"
    folder.mkdir()
    await trainer.save(folder)
    saved = load_file(folder / "optimizer.safetensors")
    mark = "exp_avg."
    first = {n.removeprefix(mark): t.double() for n, t in saved.items() if n.startswith(mark)}
    metrics += [await trainer.update(batch) for batch in batches[1:]]
    weights = await asyncio.to_thread(lambda: dict(trainer.weights.tensors()))
    return Trained(metrics, first, {n: t.cpu().double() for n, t in weights.items()})


def load_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a model folder."""
    return {name: tensor.double() for _, name, tensor in read_tensors(folder, "cpu")}


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).pow(2).sum().sqrt() / wanted.pow(2).sum().sqrt())


def _distance(some: dict[str, torch.Tensor], other: dict[str, torch.Tensor] | None = None) -> float:
    parts = [t if other is None else t - other[n] for n, t in some.items()]
    return sum(float(part.pow(2).sum()) for part in parts) ** 0.5


async def speed(bench: Bench) -> None:
    """The small shape on one GPU, and on the other one the torch trainer."""
    name = "tiny" if bench.rehearse else "1.7b"
    cases = [
        Case("packed 32k", "mlp", attention="documents", profile=True),
        Case("packed 32k", "mlp", 18),
        Case("packed 32k", "mlp", 18, attention="documents"),
        Case("rows of 8k", "mlp", 18, attention="documents"),
        Case("one of 32k", "mlp", 18, attention="documents", repeats=2),
        Case("packed 32k", "full", 10),
        Case("packed 32k", "full", repeats=2),
        Case("packed 32k", "none", attention="documents"),  # this takes more than 80 GiB
    ]
    if bench.rehearse:
        cases = cases[:1]
    await asyncio.gather(
        bench.part("speed, TP 1", lambda: _nemo_speed(bench, name, "TP 1", 0, cases), 120),
        bench.part(f"speed, {name}, torch", lambda: _torch_speed(bench, name, 1), 100),
    )


async def speed_unfused(bench: Bench) -> None:
    """The small shape with attention that holds all pairs of tokens."""
    name = "tiny" if bench.rehearse else "1.7b"
    cases = [Case("packed 32k", "full", repeats=2), Case("rows of 8k", "full", repeats=2)]
    if bench.rehearse:
        cases = cases[:1]
    await _nemo_speed(bench, name, "TP 1, unfused", 1, cases, unfused=True)


async def speed_tp2(bench: Bench) -> None:
    """Both shapes on two GPUs that share every layer and its tokens."""
    small, large = ("tiny", "tiny") if bench.rehearse else ("1.7b", "4b")
    both: dict[str, Any] = {"tensor_parallel": 2, "sequence_parallel": True}
    cases = {
        large: [
            Case("packed 32k", "mlp", attention="documents"),
            Case("packed 32k", "mlp", repeats=2),
            Case("rows of 8k", "mlp", attention="documents", repeats=2),
            Case("one of 32k", "mlp", attention="documents", repeats=2),
            Case("packed 32k", "full", repeats=2),
            Case("packed 32k", "mlp", 24, attention="documents"),
            Case("packed 32k", "none", attention="documents"),  # this takes more than 80 GiB
        ],
        small: [
            Case("packed 32k", "none", attention="documents", profile=True),
            Case("packed 32k", "none", repeats=2),
            Case("packed 32k", "mlp", repeats=2),
            Case("rows of 8k", "none", attention="documents", repeats=2),
        ],
    }
    for name in dict.fromkeys((small, large)):
        chosen = cases[name][:1] if bench.rehearse else cases[name]
        work = partial(_nemo_speed, bench, name, "TP 2", 0, chosen, **both)
        await bench.part(f"speed, {name}, TP 2", work, 110)


@dataclass(frozen=True)
class Case:
    """What is timed, with what of how many layers computed again."""

    batch: str
    recompute: str
    layers: int | None = None
    repeats: int = 3
    attention: str = "varlen"
    profile: bool = False


async def _nemo_speed(
    bench: Bench,
    name: str,
    label: str,
    gpu: int,
    cases: Sequence[Case],
    *,
    unfused: bool = False,
    **division: Any,
) -> None:
    """One group of ranks, through all cases."""
    steering = bench.out / f"steering-{name}-{label.replace(' ', '-').replace(',', '')}.json"
    steering.write_text(json.dumps({"unfused": unfused}))
    settings = {**division, "max_batch_tokens": 32_768, "optimizer": SMALL_STEPS}
    precision = "float32" if bench.rehearse else "bfloat16"
    gpus = division.get("tensor_parallel", 1)
    logs = f"logs-{steering.stem}"
    async with bench.ranks(
        await asyncio.to_thread(bench.model, name),
        precision=precision,
        logs=logs,
        gpu=gpu,
        steering=steering,
        **settings,
    ) as ranks:
        for case in cases:
            wanted: dict[str, Any] = {"recompute": case.recompute, "layers": case.layers}
            wanted["attention"] = case.attention
            steering.write_text(json.dumps(wanted))
            kind = case.recompute if case.layers is None else f"{case.recompute} of {case.layers}"
            kind += "" if case.attention == "varlen" else f", {case.attention}"
            found = await _timed(
                bench, f"{name}, {label}, {case.batch}, {kind}", ranks.update, case, name, gpus
            )
            found["peak_gib"] = [
                float(path.read_text()) for path in sorted(bench.out.glob(f"{steering.name}.rank?"))
            ]
            bench.write()
            if case.profile:
                steering.write_text(json.dumps({**wanted, "profile": True}))
                await ranks.update(_samples(bench, case, name))


async def _torch_speed(bench: Bench, name: str, gpu: int) -> None:
    config = TorchTrainerConfig(
        optimizer=SMALL_STEPS,
        max_batch_tokens=33_792,
        share_prefixes=False,
        recompute="none",
        attention="documents",
        autocast="off" if bench.rehearse else "bfloat16",
        compile=not bench.rehearse,
    )
    folder = await asyncio.to_thread(bench.model, name)
    model = PolicyModel(ModelConfig(model=str(folder), device="cpu"))
    launcher = bench.launcher("logs-torch", gpu)
    processes = Processes(launcher=launcher, count=1, gpus=0 if bench.rehearse else 1)
    async with open_trainer(config, LossConfig(), model, processes) as trainer:
        for batch in ("packed 32k", "rows of 8k"):
            case = Case(batch, "none")
            await _timed(bench, f"{name}, torch, {batch}, none", trainer.update, case, name, 1)


async def _timed(
    bench: Bench,
    label: str,
    update: Callable[[Sequence[TrainingSample]], Awaitable[UpdateMetrics]],
    case: Case,
    name: str,
    gpus: int,
) -> dict[str, Any]:
    samples = _samples(bench, case, name)
    lengths = [len(sample) for sample in samples]
    seconds: list[float] = []
    for _ in range(WARM + case.repeats):
        started = time.perf_counter()
        made = await update(samples)
        seconds.append(time.perf_counter() - started)
        if made.updates != 1:
            raise RuntimeError(f"{label}: no step was made: {made}")
    median = statistics.median(seconds[WARM:])
    found = {
        "seconds": [round(one, 3) for one in seconds],
        "tokens_per_s": round(sum(lengths) / median),
        "mfu": round(flops(shape(name), lengths) / median / PEAK_FLOPS / gpus, 4),
        "used_mib": _used_mib(),
    }
    bench.note(label, found)
    return found


def _samples(bench: Bench, case: Case, name: str) -> list[TrainingSample]:
    lengths = [n // 100 if bench.rehearse else n for n in BATCHES[case.batch]]
    return documents(lengths, shape(name).vocab_size)


def _used_mib() -> list[int]:
    """Memory that is taken of every GPU, what allocators keep included."""
    query = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
    try:
        return [int(line) for line in subprocess.check_output(query, text=True).split()]
    except (OSError, subprocess.CalledProcessError):
        return []


async def sync(bench: Bench) -> None:
    """Weights that two ranks share to vLLM: on the GPU of the first one, and on the other."""
    name = "tiny" if bench.rehearse else "4b"
    await asyncio.to_thread(bench.model, name)
    cases: list[tuple[str, int]] = [("TP 2, NCCL", 1), ("TP 2, CUDA IPC", 0)]
    limit = LIMITS_S["sync"]
    await asyncio.gather(  # no optimizer has made a step, so both fit
        *(
            bench.part(f"sync, {name}, {label}", partial(_one_sync, bench, label, name, gpu), limit)
            for label, gpu in cases
        )
    )


async def _one_sync(bench: Bench, label: str, name: str, gpu: int) -> None:
    folder = bench.model(name)
    stub = (sys.executable, "-m", STUB)
    nccl = gpu == 1 and not bench.rehearse
    config = VllmEngineConfig(
        launch=LaunchConfig(
            program=stub if bench.rehearse else (),
            memory_share=0.35,
            context_tokens=4096,
            extra_args=() if bench.rehearse else EAGER,
        ),
        sync=SyncConfig(transfer="nccl" if nccl else "ipc"),
    )
    precision = "float32" if bench.rehearse else "bfloat16"
    model = PolicyModel(ModelConfig(model=str(folder), device="cpu"))
    devices = {} if bench.rehearse else {"engine-0": (bench.gpus[gpu],)}
    logs = f"logs-sync-{gpu}"
    hosts = EngineHosts(launcher=LocalLauncher(bench.out / logs, devices), gpus=len(devices))
    async with AsyncExitStack() as stack:
        starting = stack.enter_async_context(open_engine(config, model, hosts))
        ranks, engine = await asyncio.gather(
            stack.enter_async_context(
                bench.ranks(folder, precision=precision, logs=logs, tensor_parallel=2)
            ),
            starting,
        )
        assert isinstance(engine, ServedEngine)
        publishing = engine.sync(ranks)
        assert isinstance(publishing, ServerSync)
        found: list[dict[str, float]] = []
        for version in range(1, 5):
            made = await publishing.publish(version)
            found.append(
                {"all": made.paused_s, "sending": made.sent_s, "verifying": made.verified_s}
            )
            bench.note(f"sync, {name}, {label}", found)


async def run(bench: Bench) -> None:
    """Ten steps of asynchronous GRPO: ranks on the first GPU, vLLM on the second."""
    folder = bench.out / "run"
    each = 0 if bench.rehearse else 1
    settings = [
        f"folder={folder}",
        f"rl.steps={2 if bench.rehearse else 10}",
        "rl.max_seconds=null",
        "rl.schedule.kind=async",
        f"rl.prompts_per_step={2 if bench.rehearse else 8}",
        f"rl.group_size={2 if bench.rehearse else 6}",
        "evaluation.data.limit=4",
        "trainer.kind=nemo_aligner",
        "trainer.optimizer.lr=1e-4",
        f"trainer.python={bench.nemo}",
        "policy.engine.kind=vllm",
        "policy.engine.launch.dtype=float16",
        "policy.engine.launch.context_tokens=4096",
        f"placement.trainer.gpus={each}",
        f"placement.engines.gpus={each}",
    ]
    if bench.rehearse:
        settings.append(f"policy.engine.launch.program=[{sys.executable},-m,{STUB}]")
    else:
        settings.append("placement.engines.memory_share=0.15")
        settings.append(f"policy.engine.launch.extra_args=[{','.join(EAGER)}]")
    log = bench.out / "run.log"
    with log.open("wb") as output:
        command = (sys.executable, "-m", "wideseek_apps", "train", *settings)
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
            _report_run(bench, folder)
    bench.note("run, exit code", code)


def _report_run(bench: Bench, folder: Path) -> None:
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    rows = [json.loads(line) for line in lines if line.strip()]
    wanted = ("step", "reward", "version", "mismatch", "grad_norm", "seconds", "sync")
    shown = [
        {key: value for key, value in row.items() if any(name in key for name in wanted)}
        for row in rows
    ]
    bench.note("run, steps", shown)


def make(folder: Path, model: Decoder) -> None:
    """Writes a model folder with a tokenizer, without which vLLM does not start."""
    words = {f"t{number}": number for number in range(model.config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(f"{folder.name}.tokenizer.json")
    tokenizer.save(str(file))
    save_model(model, folder, file)
    kinds = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "t2", "pad_token": "t0"}
    (folder / "tokenizer_config.json").write_text(json.dumps(kinds))


async def main() -> None:
    """The chosen parts, one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--nemo-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--parts", default=",".join(LIMITS_S))
    parser.add_argument("--seconds", type=float, default=575)
    parser.add_argument("--models", type=Path, help="folder that keeps the random models")
    parser.add_argument("--make", help="only make the model of a shape, in OUT")
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    if unknown := [part for part in given.parts.split(",") if part not in LIMITS_S]:
        parser.error(f"--parts: {', '.join(unknown)}: they are {', '.join(LIMITS_S)}")
    if given.make:
        kind = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        make(given.out, random_model(shape(given.make), kind))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    if given.models:
        given.models.mkdir(parents=True, exist_ok=True)
    works = {
        "gradients": gradients,
        "speed": speed,
        "speed_tp2": speed_tp2,
        "speed_unfused": speed_unfused,
        "sync": sync,
        "run": run,
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            out=given.out,
            folder=Path(folder),
            models=given.models or Path(folder),
            nemo=given.nemo_python,
            rehearse=given.rehearse,
        )
        parts = given.parts.split(",")
        small = ("1.7b",)
        shapes = {
            "speed": small,
            "speed_unfused": small,
            "speed_tp2": ("4b", "1.7b"),
            "sync": ("4b",),
        }
        making = [
            asyncio.create_task(asyncio.to_thread(bench.model, name))
            for name in dict.fromkeys(n for part in parts for n in shapes.get(part, ()))
            if not given.rehearse
        ]
        for name in parts:
            left = given.seconds - (time.monotonic() - START)
            await bench.part(name, partial(works[name], bench), min(LIMITS_S[name], left))
        await asyncio.gather(*making, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
