"""What `run_scaling.py` measures with: its settings, a model, groups of ranks, and servers."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic, Literal, TypeVar

import torch
from gpu_training import shape
from pydantic import Field, model_validator
from tokenizers import Tokenizer, models, pre_tokenizers

from wideseek_apps.served_engine import ServedEngine
from wideseek_core import Config, ConfigError, TrainError
from wideseek_rl import LossConfig, ModelConfig, PolicyModel, TorchTrainerConfig, open_engine
from wideseek_rl.cluster.config import EnginePlacement, RayPlacement, TrainerPlacement
from wideseek_rl.cluster.launcher import Launcher
from wideseek_rl.cluster.local import LocalLauncher, visible_gpus
from wideseek_rl.cluster.open import open_launcher
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.remote.client import Processes

T = TypeVar("T")
Part = Literal["training", "rollouts", "steps"]
STUB_VOCABULARY = 1000
SERVERS = {"vllm": "vllm.entrypoints.cli.main", "sglang": "sglang.launch_server"}


class ScalingConfig(Config):
    """What is measured, and with what."""

    gpus: int = Field(default=4, ge=2)
    """GPUs of the host that are used, a power of two. Half of them train and half sample."""
    parts: tuple[Part, ...] = ("training", "rollouts", "steps")
    """Speed of training and of rollouts on 1, 2, 4 ... GPUs, each apart, and whole steps."""
    apart: bool = True
    """Measure training and rollouts on all GPUs, too: servers and groups of ranks then share GPUs,
    and take turns. Otherwise each GPU has one process, as in a run."""
    largest: int | None = Field(default=None, ge=1)
    """Ranks of the largest group that trains; null for as many as GPUs."""
    kill: bool = True
    """Kill one engine during the last overlapped steps, and go on until it is replaced."""
    seconds: float = Field(default=3600.0, gt=0)
    """Time for everything; parts that do not fit are left out or ended."""
    start_s: float = Field(default=600.0, gt=0)
    """Time for processes to start; what is not there then is left out."""
    part_s: float = Field(default=600.0, gt=0)
    """Time for each measurement of training and rollouts apart."""
    shape: Literal["tiny", "1.7b", "4b"] = "4b"
    """The model: a shape of Qwen3, with random weights."""
    model: Path = Path("runs/scaling-model")
    """Where it is; it is made if it is not there."""
    shorten: int = Field(default=4, ge=1)
    """The recorded lengths are divided by this, so that a step takes seconds."""
    agents: int = Field(default=64, ge=1)
    """Agents per engine where rollouts are measured apart: weak scaling."""
    step_agents: int = Field(default=32, ge=1)
    """Agents per engine in whole steps."""
    samples: int = Field(default=16, ge=1)
    """Samples per GPU where training is measured apart."""
    repeats: int = Field(default=2, ge=1)
    """Measured updates and steps of each kind."""
    engine: Literal["vllm", "sglang"] = "vllm"
    launch: LaunchConfig = LaunchConfig(context_tokens=20_000)
    """How servers are started."""
    engine_python: Path | None = None
    """Interpreter of the servers' environment, which then lacks this package's routes."""
    hold: Literal["auto", "always", "never"] = "auto"
    """Whether servers hold requests across an update; see `SyncConfig`."""
    trainer: Literal["torch", "nemo_aligner"] = "torch"
    tensor_parallel: int = Field(default=1, ge=1)
    """Ranks that share every layer, with `nemo_aligner`."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Stages with equally many layers each, with `nemo_aligner`."""
    distributed_optimizer: bool = True
    """Divide Adam's moments among data-parallel ranks, with `nemo_aligner`."""
    recompute: Literal["none", "core_attn", "mlp", "full"] = "full"
    """What the backward pass computes again, with `nemo_aligner`."""
    max_batch_tokens: int = Field(default=16_384, ge=1)
    """Tokens of a micro-batch."""
    trainer_python: Path | None = None
    """Interpreter of the ranks' environment."""
    launcher: Literal["local", "ray"] = "local"
    """What starts the processes; `ray` needs `apart=false`."""
    address: str = "auto"
    """Of the Ray cluster."""
    rehearse: bool = False
    """Stub servers and ranks on the CPU."""
    out: Path = Path("runs/scaling")
    """Folder of the results and of all logs."""

    @model_validator(mode="after")
    def _fits(self) -> "ScalingConfig":
        if self.gpus & (self.gpus - 1):
            raise ValueError(f"gpus is {self.gpus}, which is not a power of two")
        if self.smallest > self.half:
            raise ValueError(f"{self.smallest} ranks share a model, {self.half} GPUs train")
        if self.launcher == "ray" and self.apart:
            raise ValueError("Ray gives each process GPUs of its own: set apart=false")
        return self

    @property
    def half(self) -> int:
        """GPUs that train, and that sample."""
        return self.gpus // 2

    @property
    def smallest(self) -> int:
        """Ranks of the smallest group that trains."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def groups(self) -> list[int]:
        """Sizes of the groups of ranks, the largest first."""
        if not self.apart:
            return [self.half]
        largest = self.largest or self.gpus
        return [size for size in _halves(self.gpus) if self.smallest <= size <= largest]

    @property
    def engines(self) -> list[int]:
        """Numbers of engines that are measured, the smallest first."""
        return sorted(_halves(self.gpus if self.apart else self.half))

    @property
    def each(self) -> int:
        """GPUs of a process."""
        return 0 if self.rehearse else 1


def _halves(size: int) -> list[int]:
    return [size >> step for step in range(size.bit_length())]


def trainer_gpus(size: int, gpus: int) -> range:
    """Where a group of ranks is: before the engines of as many GPUs, or everywhere."""
    start = 0 if size == gpus else gpus - 2 * size
    return range(start, start + size)


def decoder_shape(config: ScalingConfig) -> DecoderConfig:
    """The shape of the model; in a rehearsal with the vocabulary of the stub servers."""
    found = shape(config.shape)
    return replace(found, vocab_size=STUB_VOCABULARY) if config.rehearse else found


def made_model(config: ScalingConfig) -> Path:
    """A model folder with random weights, made if it is not there."""
    if config.model.is_dir():
        return config.model
    decoder_config = decoder_shape(config)
    with torch.device("meta"):
        model = Decoder(decoder_config).to(torch.float32 if config.rehearse else torch.bfloat16)
    model = model.to_empty(device="cpu")
    noise = torch.empty(1 << 24).normal_(std=0.02)  # the same for all: new numbers would take long
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for part in torch.split(flat, len(noise)):
                part.copy_(noise[: len(part)])
            if parameter.dim() == 1:
                parameter.fill_(1.0)
    words = {f"t{number}": number for number in range(decoder_config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    config.model.parent.mkdir(parents=True, exist_ok=True)
    file = config.model.parent / "tokenizer.json"
    tokenizer.save(str(file))
    save_model(model, config.model, file)
    (config.model / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "t2", "pad_token": "t0"}'
    )
    return config.model


class Held(Generic[T]):
    """Something that a task of its own opens, keeps open, and closes on request.

    So several things are opened at the same time, and one that fails leaves the others alone.
    """

    def __init__(self, context: AbstractAsyncContextManager[T]) -> None:
        self._value: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(context))

    async def _hold(self, context: AbstractAsyncContextManager[T]) -> None:
        try:
            async with context as value:
                self._value.set_result(value)
                await self._closing.wait()
        except Exception as error:
            if self._value.done():
                raise
            self._value.set_exception(error)

    async def opened(self) -> T:
        """Waits for what is opened. Raises why it was not."""
        return await asyncio.shield(self._value)

    def get(self) -> T:
        """What was opened. Raises why it was not, or is not yet."""
        if not self._value.done():
            raise TrainError("it has not started in time")
        return self._value.result()

    async def close(self) -> None:
        """Closes it, or gives up opening it."""
        self._closing.set()
        if not self._value.done():
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def own_gpus(config: ScalingConfig) -> tuple[int, ...]:
    """The GPUs of this host, where processes run on them."""
    if config.rehearse or config.launcher != "local":
        return ()
    found = visible_gpus()
    if len(found) < config.gpus:
        raise ConfigError(f"gpus={config.gpus}: there are {len(found)}")
    return found


class Places:
    """Opens groups of ranks and servers on the GPUs that are theirs."""

    def __init__(self, config: ScalingConfig, shared: Launcher | None) -> None:
        self._config, self._shared = config, shared
        self.model = PolicyModel(ModelConfig(model=str(made_model(config)), device="cpu"))
        self._gpus = own_gpus(config)

    def _launcher(self, name: str, role: str, gpus: Sequence[int]) -> Launcher:
        if self._shared is not None:
            return self._shared
        devices: dict[str, tuple[int, ...]] = {}
        if self._gpus:
            devices = {f"{role}-{number}": (self._gpus[gpu],) for number, gpu in enumerate(gpus)}
        return LocalLauncher(self._config.out / "logs" / name, devices)

    @asynccontextmanager
    async def trainer(self, size: int) -> AsyncGenerator[Trainer]:
        """A group of ranks."""
        config = self._config
        gpus = trainer_gpus(size, config.gpus)
        processes = Processes(
            launcher=self._launcher(f"trainer-{size}", "trainer", gpus),
            count=size,
            gpus=config.each,
            python=str(config.trainer_python or ""),
        )
        settings = trainer_config(config, size)
        async with open_trainer(settings, LossConfig(), self.model, processes) as trainer:
            yield trainer

    @asynccontextmanager
    async def servers(self, name: str, gpus: Sequence[int]) -> AsyncGenerator[ServedEngine]:
        """Servers that are started, one on each GPU."""
        hosts = EngineHosts(
            launcher=self._launcher(name, "engine", gpus), gpus=self._config.each, max_restarts=3
        )
        async with self._engine(len(gpus), hosts) as engine:
            yield engine

    @asynccontextmanager
    async def some(self, urls: Sequence[str]) -> AsyncGenerator[ServedEngine]:
        """Some of the servers that run already."""
        hosts = EngineHosts(launcher=LocalLauncher(), base_urls=tuple(urls))
        async with self._engine(len(urls), hosts) as engine:
            yield engine

    @asynccontextmanager
    async def _engine(self, count: int, hosts: EngineHosts) -> AsyncGenerator[ServedEngine]:
        config = engine_config(self._config, count)
        async with open_engine(config, self.model, hosts) as engine:
            assert isinstance(engine, ServedEngine)
            yield engine


@asynccontextmanager
async def open_places(config: ScalingConfig) -> AsyncGenerator[Places]:
    """Where processes run: on this host, or where a Ray cluster has GPUs."""
    if config.launcher == "local":
        yield Places(config, None)
        return
    placement = RayPlacement(
        trainer=TrainerPlacement(
            gpus=config.half * config.each,
            processes=config.half,
            tensor_parallel=config.tensor_parallel,
            python=config.trainer_python,
        ),
        engines=EnginePlacement(replicas=config.half, gpus=config.each),
        address=config.address,
    )
    async with open_launcher(placement, config.out / "logs") as launcher:
        yield Places(config, launcher)


def engine_config(config: ScalingConfig, replicas: int) -> VllmEngineConfig | SglangEngineConfig:
    """The settings of so many servers."""
    program: tuple[str, ...] = ()
    if config.rehearse:
        program = (sys.executable, "-m", f"wideseek_core.testing.fake_{config.engine}")
    elif config.engine_python is not None:
        program = (str(config.engine_python), "-m", SERVERS[config.engine])
    launch = config.launch.model_copy(
        update={
            "program": program,
            "extra_args": () if config.rehearse else config.launch.extra_args,
        }
    )
    sync = SyncConfig(transfer="ipc" if config.rehearse else "nccl", hold=config.hold)
    if config.engine == "sglang":
        return SglangEngineConfig(replicas=replicas, launch=launch, sync=sync)
    route: Literal["auto", "arrays"] = "auto" if program else "arrays"
    return VllmEngineConfig(replicas=replicas, launch=launch, sync=sync, route=route)


def trainer_config(config: ScalingConfig, ranks: int) -> TorchTrainerConfig | NemoAlignerConfig:
    """The settings of so many ranks."""
    tokens = 2000 if config.rehearse else config.max_batch_tokens
    if config.trainer == "torch":
        return TorchTrainerConfig(
            autocast="off" if config.rehearse else "bfloat16",
            recompute="none" if config.rehearse else "mixed",
            max_batch_tokens=tokens,
            threads=1 if config.rehearse else None,
        )
    data_parallel = ranks // config.smallest
    return NemoAlignerConfig(
        tensor_parallel=config.tensor_parallel,
        pipeline_parallel=config.pipeline_parallel,
        data_parallel=data_parallel,
        distributed_optimizer=config.distributed_optimizer and data_parallel > 1,
        sequence_parallel=config.tensor_parallel > 1,
        precision="float32" if config.rehearse else "bfloat16",
        recompute="none" if config.rehearse else config.recompute,
        max_batch_tokens=tokens,
        python=config.trainer_python,
    )
