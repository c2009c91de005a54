"""How rollouts, training and weight sync scale with the GPUs of one host.

    python tests/benchmarks/run_scaling.py [SETTINGS.yaml] [KEY=VALUE ...]

For each number of GPUs, half train and half sample, with random weights in a model's shape and
made-up rollouts whose lengths follow a recorded distribution. Measured are time by part, tokens/s,
MFU, the pause of a sync and idle shares: rollouts and training in turn (`sync`), and at the same
time (`async`), with one engine killed on the way. `rehearse=true` does the same with stub servers
and a tiny model on the CPU. Results go to `out` as JSON.
"""

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from wideseek_apps.served_engine import ServedEngine
from wideseek_core import Sampling
from wideseek_core.config import Config, load_config
from wideseek_rl import LossConfig, ModelConfig, PolicyModel, TorchTrainerConfig, open_engine
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.config import (
    EnginePlacement,
    LocalPlacement,
    RayPlacement,
    TrainerPlacement,
)
from wideseek_rl.cluster.estimate import PEAK_FLOPS
from wideseek_rl.cluster.open import open_launcher
from wideseek_rl.cluster.shapes import shape_of
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import new_model
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.remote.client import Processes

LENGTHS = ((700, 180), (1500, 320), (3700, 900), (8200, 1400), (15_000, 2600))
"""Prompt and response tokens of an agent; one of these is drawn for each."""


class ScalingConfig(Config):
    """What is measured."""

    gpus: tuple[int, ...] = (2, 4, 8)
    """Numbers of GPUs, half of which train."""
    model: Path | None = None
    """A model folder; null makes one with random weights in the shape of Qwen3-4B."""
    engine: Literal["vllm", "sglang"] = "vllm"
    trainer: Literal["torch", "nemo_aligner"] = "torch"
    tensor_parallel: int = Field(default=1, ge=1)
    """Ranks that share every layer, with `nemo_aligner`."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Stages with equally many layers each, with `nemo_aligner`."""
    distributed_optimizer: bool = False
    """Divide Adam's moments among the data-parallel ranks of `nemo_aligner`."""
    launcher: Literal["local", "ray"] = "local"
    """What starts the processes."""
    address: str = "auto"
    """Of the Ray cluster."""
    engine_python: Path | None = None
    trainer_python: Path | None = None
    steps: int = Field(default=4, ge=2)
    """Steps of each kind; the first one is a warm-up and does not count."""
    agents_per_gpu: int = Field(default=64, ge=1)
    """Agents of a step for each GPU that samples: weak scaling."""
    kill: bool = True
    """Kill one engine during the last overlapped step."""
    rehearse: bool = False
    """Stub servers and a tiny model on the CPU."""
    out: Path = Path("runs/scaling.json")


@dataclass(slots=True)
class Part:
    """Seconds of the parts of one step, and what was worked through."""

    sample_s: float = 0.0
    train_s: float = 0.0
    sync_s: float = 0.0
    step_s: float = 0.0
    sampled: int = 0
    trained: int = 0
    pause_s: float = 0.0


@dataclass(slots=True)
class Scale:
    """One number of GPUs."""

    gpus: int
    cards: str
    sync: list[Part] = field(default_factory=list[Part])
    overlapped: list[Part] = field(default_factory=list[Part])
    restarted: int = 0
    failed_requests: int = 0


def shape(rehearse: bool) -> DecoderConfig:
    """The model: Qwen3-4B's shape, or a tiny one."""
    if rehearse:
        return DecoderConfig(
            vocab_size=1000, hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_size=64
        )
    return DecoderConfig(
        vocab_size=151_936,
        hidden_size=2560,
        layers=36,
        heads=32,
        kv_heads=8,
        head_dim=128,
        ffn_size=9728,
        max_positions=40_960,
    )


def made_model(folder: Path, rehearse: bool) -> Path:
    """A model folder with random weights."""
    model = new_model(shape(rehearse), 0)
    save_model(model if rehearse else model.to(torch.bfloat16), folder / "model", None)
    return folder / "model"


class Measurement:
    """Trainer and engines on so many GPUs, and the steps made with them."""

    def __init__(self, config: ScalingConfig, gpus: int, folder: Path, model: Path) -> None:
        self._config, self._folder, self._model = config, folder, model
        self._half = gpus // 2
        self._scale = Scale(gpus=gpus, cards=_cards())
        self._random = random.Random(gpus)
        self._vocabulary = shape(config.rehearse).vocab_size

    async def run(self) -> Scale:
        """All steps."""
        config, rehearse = self._config, self._config.rehearse
        each = 0 if rehearse else 1
        placement = self._placement(each)
        model = PolicyModel(ModelConfig(model=str(self._model), device="cpu"))
        async with AsyncExitStack() as stack:
            opened = open_launcher(placement, self._folder / f"logs-{self._scale.gpus}")
            launcher = await stack.enter_async_context(opened)
            hosts = EngineHosts(launcher=launcher, gpus=each, max_restarts=3)
            engine = await stack.enter_async_context(
                open_engine(self._engine_config(each), model, hosts)
            )
            processes = Processes(
                launcher=launcher,
                count=self._half,
                gpus=each,
                python=str(config.trainer_python or ""),
            )
            trainer = await stack.enter_async_context(
                open_trainer(self._trainer_config(), LossConfig(), model, processes)
            )
            assert isinstance(engine, ServedEngine)
            await self._steps(engine, trainer)
        return self._scale

    def _placement(self, each: int) -> LocalPlacement | RayPlacement:
        """Half of the GPUs for the trainer, the others for an engine each."""
        trainer = TrainerPlacement(
            gpus=self._half * each,
            processes=self._half,
            tensor_parallel=self._config.tensor_parallel,
            python=self._config.trainer_python,
        )
        engines = EnginePlacement(replicas=self._half, gpus=each)
        if self._config.launcher == "local":
            return LocalPlacement(trainer=trainer, engines=engines)
        return RayPlacement(trainer=trainer, engines=engines, address=self._config.address)

    def _engine_config(self, each: int) -> VllmEngineConfig | SglangEngineConfig:
        config = self._config
        program: tuple[str, ...] = ()
        if config.rehearse:
            stub = f"wideseek_core.testing.fake_{config.engine}"
            program = (sys.executable, "-m", stub)
        elif config.engine_python is not None:
            modules = {"vllm": "vllm.entrypoints.cli.main", "sglang": "sglang.launch_server"}
            program = (str(config.engine_python), "-m", modules[config.engine])
        kind = VllmEngineConfig if config.engine == "vllm" else SglangEngineConfig
        return kind(
            replicas=self._half,
            launch=LaunchConfig(program=program, context_tokens=32_000),
            sync=SyncConfig(transfer="nccl" if each else "ipc"),
        )

    def _trainer_config(self) -> TorchTrainerConfig | NemoAlignerConfig:
        config = self._config
        tokens = 2000 if config.rehearse else 32_768
        if config.trainer == "nemo_aligner":
            return NemoAlignerConfig(
                tensor_parallel=config.tensor_parallel,
                pipeline_parallel=config.pipeline_parallel,
                data_parallel=self._half // (config.tensor_parallel * config.pipeline_parallel),
                distributed_optimizer=config.distributed_optimizer,
                sequence_parallel=config.tensor_parallel > 1,
                precision="float32" if config.rehearse else "bfloat16",
                recompute="none" if config.rehearse else "full",
                max_batch_tokens=tokens,
                python=config.trainer_python,
            )
        return TorchTrainerConfig(
            autocast="off" if config.rehearse else "bfloat16",
            recompute="none" if config.rehearse else "mixed",
            max_batch_tokens=tokens,
            threads=1 if config.rehearse else None,
        )

    async def _steps(self, engine: ServedEngine, trainer: Trainer) -> None:
        sync = engine.sync(trainer)
        version = 0
        batch, _ = await self._rollouts(engine, version)
        for step in range(self._config.steps):
            started = time.monotonic()
            batch, part = await self._rollouts(engine, version)
            version += 1
            await self._train(trainer, sync, batch, version, part)
            part.step_s = time.monotonic() - started
            if step:
                self._scale.sync.append(part)
        for step in range(self._config.steps):
            started = time.monotonic()
            coming = asyncio.create_task(self._rollouts(engine, version))
            if self._config.kill and step == self._config.steps - 1:
                _kill_one(engine)
            version += 1
            spent = Part()
            await self._train(trainer, sync, batch, version, spent)
            batch, part = await coming
            part.train_s, part.sync_s, part.pause_s = spent.train_s, spent.sync_s, spent.pause_s
            part.trained, part.step_s = spent.trained, time.monotonic() - started
            if step:
                self._scale.overlapped.append(part)
        self._scale.restarted = engine.pool.counts.deaths
        self._scale.failed_requests = engine.pool.counts.resent

    async def _rollouts(
        self, engine: ServedEngine, version: int
    ) -> tuple[list[TrainingSample], Part]:
        started = time.monotonic()
        count = self._config.agents_per_gpu * self._half
        made = await asyncio.gather(
            *(self._agent(engine, f"{version}-{number}") for number in range(count))
        )
        sampled = sum(sample.trained for sample in made)
        return list(made), Part(sample_s=time.monotonic() - started, sampled=sampled)

    async def _agent(self, engine: ServedEngine, name: str) -> TrainingSample:
        prompt, response = self._random.choice(LENGTHS)
        if self._config.rehearse:
            prompt, response = prompt // 100, response // 100
        ids = [self._random.randrange(3, self._vocabulary) for _ in range(prompt)]
        sampling = Sampling(max_tokens=response, seed=self._random.randrange(2**31))
        made = await engine.generate(ids, session=name, sampling=sampling)
        await engine.close_session(name)
        return _sample([*ids, *made.ids], made.logprobs, self._random.uniform(-1, 1))

    async def _train(
        self, trainer: Trainer, sync: Any, batch: Sequence[TrainingSample], version: int, part: Part
    ) -> None:
        started = time.monotonic()
        async with sync.updating() as commit:
            await trainer.update(batch)
            part.train_s = time.monotonic() - started
            commit(version)
        part.sync_s = time.monotonic() - started - part.train_s
        part.pause_s = sync.last.paused_s
        part.trained = sum(map(len, batch))


def _sample(ids: Sequence[int], logprobs: Sequence[float], advantage: float) -> TrainingSample:
    length, trained = len(ids), len(logprobs)
    weights = np.zeros(length, np.float32)
    weights[length - trained :] = 1e-4
    old = np.zeros(length, np.float32)
    old[length - trained :] = logprobs
    return TrainingSample(
        ids=np.array(ids, np.int32),
        weights=weights,
        advantages=np.full(length, advantage, np.float32),
        logprobs=old,
    )


def _kill_one(engine: ServedEngine) -> None:
    """Kills the process that listens at the first address."""
    port = next(iter(engine.pool.states)).rsplit(":", 1)[1].encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--port" in words and words[words.index(b"--port") + 1] == port:
            os.kill(int(folder.name), signal.SIGKILL)


def _cards() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"


def summary(scale: Scale, model: Path) -> dict[str, float | str]:
    """The figures of one number of GPUs."""
    half = scale.gpus // 2
    figures: dict[str, float | str] = {"gpus": scale.gpus, "cards": scale.cards}
    for name, parts in (("sync", scale.sync), ("async", scale.overlapped)):
        total = {key: sum(getattr(part, key) for part in parts) for key in asdict(Part())}
        seconds = total["step_s"]
        figures |= {
            f"{name}/step_s": seconds / len(parts),
            f"{name}/sampled_per_s": total["sampled"] / total["sample_s"],
            f"{name}/trained_per_s": total["trained"] / total["train_s"],
            f"{name}/pause_s": max(part.pause_s for part in parts),
            f"{name}/engines_idle": 1 - total["sample_s"] / seconds,
            f"{name}/trainer_idle": 1 - total["train_s"] / seconds,
        }
        if (found := shape_of(model)) is not None and torch.cuda.is_available():
            length = sum(prompt + response for prompt, response in LENGTHS) / len(LENGTHS)
            flops = found.training_flops(length) * float(figures[f"{name}/trained_per_s"])
            figures[f"{name}/mfu"] = flops / (half * PEAK_FLOPS)
    return figures | {"deaths": scale.restarted, "resent": scale.failed_requests}


async def measure(config: ScalingConfig) -> list[dict[str, float | str]]:
    """All numbers of GPUs, one after another; what is done is written at once."""
    found: list[dict[str, float | str]] = []
    with tempfile.TemporaryDirectory() as work:
        model = config.model or made_model(Path(work), config.rehearse)
        for gpus in config.gpus:
            scale = await Measurement(config, gpus, Path(work), model).run()
            found.append(summary(scale, model))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
            config.out.parent.mkdir(parents=True, exist_ok=True)
            config.out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def relative(found: Sequence[dict[str, float | str]]) -> str:
    """Speed a GPU of the largest number against that of the smallest: 1 is linear."""
    lines: list[str] = []
    first, last = found[0], found[-1]
    for name in ("sync/sampled_per_s", "sync/trained_per_s", "async/step_s"):
        ratio = float(last[name]) / float(first[name])
        if not name.endswith("step_s"):
            ratio *= float(first["gpus"]) / float(last["gpus"])
        else:
            ratio = 1 / ratio
        lines.append(f"{name}: {ratio:.2f} of linear")
    return "\n".join(lines)


if __name__ == "__main__":
    settings = load_config(ScalingConfig, sys.argv[1:])
    sys.stdout.write(relative(asyncio.run(measure(settings))) + "\n")
