"""NeMo-Aligner on two GPUs: gradients, speed and memory, weights to vLLM, a run of ten steps.

    python tests/benchmarks/gpu_nemo.py OUT --nemo-python PYTHON --vllm-python PYTHON
    python tests/benchmarks/gpu_nemo.py OUT --rehearse --nemo-python PYTHON

PYTHON is the interpreter of an environment with NeMo-Aligner, and of one with vLLM. Every part has
a limit of its own, `--seconds` is one of all, and OUT/nemo.json is written after every figure, so
that a part that fails or takes too long costs no other one. `--parts` picks some of `speed`,
`sync`, `run` and `gradients`. `--rehearse` does all of it on the CPU, with tiny models and a stub
of vLLM, and leaves out cases that differ by a setting alone.
"""

import argparse
import asyncio
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

from wideseek_apps.served_engine import ServedEngine
from wideseek_rl import LossConfig, ModelConfig, OptimizerConfig, PolicyModel, TorchTrainerConfig
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.open import open_engine
from wideseek_rl.engines.served_config import VllmEngineConfig
from wideseek_rl.models.decoder import new_model
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.trainers.megatron.client import NemoAlignerTrainer
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.remote.client import Processes
from wideseek_rl.trainers.remote.group import RankCommand, open_ranks
from wideseek_rl.trainers.remote.requests import Describe, Described
from wideseek_rl.trainers.torch import TorchTrainer

START = time.monotonic()
STUB = "wideseek_core.testing.fake_vllm"
EAGER = ("--enforce-eager",)
"""Servers start in half the time, and nothing here depends on their speed."""
OPTIMIZER = OptimizerConfig(lr=1e-4, grad_clip=1.0, eps=1e-5)
DIVISIONS: dict[str, dict[str, Any]] = {
    "one rank": {},
    "TP 2": {"tensor_parallel": 2},
    "TP 2, sequence parallel": {"tensor_parallel": 2, "sequence_parallel": True},
    "DP 2": {"data_parallel": 2},
    "DP 2, distributed optimizer": {"data_parallel": 2, "distributed_optimizer": True},
    "PP 2": {"pipeline_parallel": 2},
}
PACKED = (7681, 2047, 5121, 3583, 8190, 2562, 3584)
ROWS = (8192,) * 4
LIMITS_S = {"speed": 190, "sync": 150, "run": 140, "gradients": 95}
"""Of each part; what was found until then is kept."""


@dataclass
class Bench:
    """What has been measured, and how."""

    out: Path
    folder: Path
    nemo: Path
    vllm: str
    rehearse: bool

    def __post_init__(self) -> None:
        self.values: dict[str, Any] = {}

    def note(self, name: str, value: object) -> None:
        """Keeps a figure, at once."""
        self.values[name] = value
        line = f"[{time.monotonic() - START:6.1f}s] {name}: {json.dumps(value, default=str)}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        (self.out / "nemo.json").write_text(json.dumps(self.values, indent=1, default=str) + "\n")

    async def part(self, name: str, work: Callable[[], Awaitable[None]], limit_s: float) -> None:
        """One part; the others still count when it fails."""
        started = time.monotonic()
        try:
            await asyncio.wait_for(work(), limit_s)
        except Exception as error:  # noqa: BLE001 - the other parts still count
            self.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:900])
            traceback.print_exc()
        self.note(f"seconds of {name}", round(time.monotonic() - started, 1))

    def model(self, name: str) -> Path:
        """A folder with random weights in a shape; made once."""
        folder = self.folder / name
        if not folder.exists():
            made = random_model(shape(name), torch.float32 if self.rehearse else torch.bfloat16)
            save_model(made, folder, None)
            del made
            if not self.rehearse:
                torch.cuda.empty_cache()
        return folder

    def launcher(self, logs: str = "logs") -> LocalLauncher:
        """Ranks on the GPUs in their order."""
        devices = {} if self.rehearse else {f"trainer-{n}": (n,) for n in range(2)}
        return LocalLauncher(self.out / logs, devices)

    @asynccontextmanager
    async def ranks(
        self, model: Path, *, unfused: bool = False, logs: str = "logs", **settings: Any
    ) -> AsyncGenerator[NemoAlignerTrainer]:
        """Ranks of NeMo-Aligner on the first GPUs."""
        config = NemoAlignerConfig(optimizer=OPTIMIZER, **settings)
        setup = Setup(model=model.resolve(), config=config, loss=LossConfig())
        here = Path(__file__).parent
        command = RankCommand(
            module="gpu_nemo_unfused" if unfused else "wideseek_rl.trainers.megatron.ranks",
            setup=setup.model_dump_json(),
            count=config.ranks,
            gpus=0 if self.rehearse else 1,
            python=self.nemo,
            start_timeout_s=120,
            request_timeout_s=60,
        )
        os.environ["PYTHONPATH"] = f"{here}:{os.environ.get('PYTHONPATH', '')}"
        async with open_ranks(command, self.launcher(logs)) as group:
            described = await group.ask(Describe(), Described)
            vocabulary = described.tensors[0][2][0]
            yield NemoAlignerTrainer(group, described, setup.loss, vocabulary)


async def gradients(bench: Bench) -> None:
    """Losses, gradient norms and changed weights against the torch trainer, in float32."""
    config = replace(shape("tiny"), layers=4)
    model = new_model(config, 0)
    save_model(model, bench.folder / "small", None)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    device = "cpu" if bench.rehearse else "cuda"
    batches = [documents((40, 90, 31, 64, 77), config.vocab_size, seed=n) for n in range(2)]
    settings = TorchTrainerConfig(optimizer=OPTIMIZER, share_prefixes=False, matmul="highest")
    trainer = TorchTrainer(model.to(device), settings, LossConfig())
    wanted = [trainer.update(batch) for batch in batches]
    after = {name: p.detach().cpu() for name, p in model.named_parameters()}
    change = sum(float((after[name] - start[name]).pow(2).sum()) for name in after)
    chosen = ("one rank", "PP 2") if bench.rehearse else tuple(DIVISIONS)
    for name in chosen:
        division = DIVISIONS[name]
        async with bench.ranks(bench.folder / "small", max_batch_tokens=128, **division) as ranks:
            found = [await ranks.update(batch) for batch in batches]
            weights = await asyncio.to_thread(_tensors, ranks)
            drift = await ranks.drift()
        distance = sum(float((weights[n] - after[n]).pow(2).sum()) for n in after)
        bench.note(
            f"gradients, {name}",
            {
                "grad_norm": max(
                    abs(f.grad_norm / w.grad_norm - 1) for f, w in zip(found, wanted, strict=True)
                ),
                "change": (distance / change) ** 0.5,
                "drift": drift,
            },
        )


def _tensors(ranks: NemoAlignerTrainer) -> dict[str, torch.Tensor]:
    return dict(ranks.weights.tensors())


async def speed(bench: Bench) -> None:
    """Tokens a second, MFU and memory: ours and unfused, at TP 1 and TP 2, and plain torch."""
    lengths: dict[str, tuple[int, ...]] = {"packed 32k": PACKED, "rows of 8k": ROWS}
    if bench.rehearse:
        lengths = {name: tuple(n // 100 for n in some) for name, some in lengths.items()}
    small, large = ("tiny", "tiny") if bench.rehearse else ("1.7b", "4b")
    both: dict[str, Any] = {"tensor_parallel": 2, "sequence_parallel": True}
    limit = 1000 if bench.rehearse else 60

    async def nemo(name: str, label: str, *, unfused: bool = False, **division: Any) -> None:
        work = partial(_nemo_speed, bench, name, label, unfused, division, lengths)
        await bench.part(f"speed, {name}, {label}", work, limit)

    await nemo(small, "TP 1")  # what 4B needs in float32 does not fit one GPU
    if not bench.rehearse:
        await nemo(small, "TP 2", **both)
        await nemo(large, "TP 2", **both)
    await nemo(small, "TP 2, unfused", unfused=True, **both)
    for name in dict.fromkeys((small, large)):
        work = partial(_torch_speed, bench, name, lengths)
        await bench.part(f"speed, {name}, torch", work, limit)
    if not bench.rehearse:
        await nemo(small, "TP 2, attention recomputed", recompute="core_attn", **both)


async def _nemo_speed(
    bench: Bench,
    name: str,
    label: str,
    unfused: bool,
    division: dict[str, Any],
    lengths: dict[str, tuple[int, ...]],
) -> None:
    settings: dict[str, Any] = {"recompute": "full", **division, "max_batch_tokens": 32_768}
    precision = "float32" if bench.rehearse else "bfloat16"
    async with bench.ranks(
        bench.model(name), unfused=unfused, precision=precision, **settings
    ) as ranks:
        gpus = division.get("tensor_parallel", 1)
        for batch, some in lengths.items():
            await _timed(bench, f"{name}, {label}, {batch}", ranks.update, name, some, gpus)


async def _torch_speed(bench: Bench, name: str, lengths: dict[str, tuple[int, ...]]) -> None:
    config = TorchTrainerConfig(
        optimizer=OPTIMIZER,
        max_batch_tokens=max(sum(some) for some in lengths.values()),
        share_prefixes=False,
        recompute="mixed",
        autocast="off" if bench.rehearse else "bfloat16",
        compile=not bench.rehearse,
    )
    model = PolicyModel(ModelConfig(model=str(bench.model(name)), device="cpu"))
    count = 2 if name == "4b" else 1
    processes = Processes(launcher=bench.launcher(), count=count, gpus=0 if bench.rehearse else 1)
    async with open_trainer(config, LossConfig(), model, processes) as trainer:
        for batch, some in lengths.items():
            given = some * count
            await _timed(
                bench, f"{name}, torch x{count}, {batch}", trainer.update, name, given, count
            )


async def _timed(
    bench: Bench,
    label: str,
    update: Callable[[Sequence[TrainingSample]], Awaitable[Any]],
    name: str,
    lengths: Sequence[int],
    gpus: int,
) -> None:
    samples = documents(lengths, shape(name).vocab_size)
    seconds: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        await update(samples)
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[2:])
    bench.note(
        label,
        {
            "seconds": [round(one, 3) for one in seconds],
            "tokens_per_s": round(sum(lengths) / median),
            "mfu": round(flops(shape(name), lengths) / median / PEAK_FLOPS / gpus, 4),
            "used_mib": _used_mib(),
        },
    )


def _used_mib() -> list[int]:
    """Memory that is taken of every GPU, what allocators keep included."""
    query = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
    try:
        return [int(line) for line in subprocess.check_output(query, text=True).split()]
    except (OSError, subprocess.CalledProcessError):
        return []


async def sync(bench: Bench) -> None:
    """Weights of the ranks to vLLM: of one to a server beside it, of two to one on their GPU."""
    small, large = ("tiny", "tiny") if bench.rehearse else ("1.7b", "4b")
    for name in (small, large):
        bench.model(name)
    cases: list[tuple[str, str, int, dict[str, Any]]] = [
        ("one rank, NCCL", small, 1, {}),
        ("TP 2, CUDA IPC", large, 0, {"tensor_parallel": 2}),
    ]
    limit = 1000 if bench.rehearse else LIMITS_S["sync"]
    await asyncio.gather(  # no optimizer has made a step, so both fit
        *(
            bench.part(
                f"sync, {name}, {label}",
                lambda a=label, n=name, g=gpu, d=division: _one_sync(bench, a, n, g, d),
                limit,
            )
            for label, name, gpu, division in cases
        )
    )


async def _one_sync(
    bench: Bench, label: str, name: str, gpu: int, division: dict[str, Any]
) -> None:
    folder = bench.model(name)
    stub = (sys.executable, "-m", STUB)
    real = (bench.vllm, "-m", "vllm.entrypoints.cli.main")
    nccl = gpu == 1 and not bench.rehearse
    config = VllmEngineConfig(
        launch=LaunchConfig(
            program=stub if bench.rehearse else real,
            memory_share=0.7 if gpu else 0.3,
            context_tokens=4096,
            extra_args=() if bench.rehearse else EAGER,
        ),
        sync=SyncConfig(transfer="nccl" if nccl else "ipc"),
    )
    precision = "float32" if bench.rehearse else "bfloat16"
    model = PolicyModel(ModelConfig(model=str(folder), device="cpu"))
    devices = {} if bench.rehearse else {"engine-0": (gpu,)}
    logs = f"logs-sync-{gpu}"
    hosts = EngineHosts(launcher=LocalLauncher(bench.out / logs, devices), gpus=len(devices))
    async with AsyncExitStack() as stack:
        starting = stack.enter_async_context(open_engine(config, model, hosts))
        ranks, engine = await asyncio.gather(
            stack.enter_async_context(
                bench.ranks(folder, precision=precision, logs=logs, **division)
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
        f"rl.group_size={2 if bench.rehearse else 8}",
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
        settings.append(f"placement.engines.python={bench.vllm}")
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


async def main() -> None:
    """The chosen parts, one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--nemo-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--vllm-python", default=sys.executable)
    parser.add_argument("--parts", default=",".join(LIMITS_S))
    parser.add_argument("--seconds", type=float, default=575)
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    works = {"gradients": gradients, "speed": speed, "sync": sync, "run": run}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            out=given.out,
            folder=Path(folder),
            nemo=given.nemo_python,
            vllm=given.vllm_python,
            rehearse=given.rehearse,
        )
        for name in given.parts.split(","):
            left = given.seconds - (time.monotonic() - START)
            limit = 1000 if given.rehearse else min(LIMITS_S[name], left)
            await bench.part(name, lambda work=works[name]: work(bench), limit)


if __name__ == "__main__":
    asyncio.run(main())
