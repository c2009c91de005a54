"""A model in this process, with the engine that samples from it."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from wideseek_agents import ChatTokenizer, TokenPolicy
from wideseek_apps.policy import LocalPolicy
from wideseek_core import ConfigError, Sampling
from wideseek_rl import (
    Decoder,
    EngineSync,
    ReplicatedEngine,
    TorchEngine,
    WeightSync,
    load_model,
)
from wideseek_rl.models.start_policy import start_policy

SMALL = 50_000_000
"""Parameters up to which a model is copied to every core: its products are too small to share."""

MOST_PROCESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model in this process, with the engine that samples from its parameters."""

    folder: Path
    model: Decoder
    tokenizer: ChatTokenizer
    engine: TorchEngine | ReplicatedEngine
    config: LocalPolicy

    @property
    def sync(self) -> WeightSync:
        """Brings the model's weights to the engine when they change."""
        engine = self.engine
        return EngineSync(engine) if isinstance(engine, TorchEngine) else engine

    def policy(self, temperature: float | None = None) -> TokenPolicy:
        """A policy over the engine, at the configured temperature or another."""
        config = self.config
        sampling = Sampling(
            temperature=config.temperature if temperature is None else temperature,
            top_p=config.top_p,
            max_tokens=config.turn_tokens,
        )
        return TokenPolicy(
            self.engine, self.tokenizer, context_tokens=config.window, sampling=sampling
        )


@asynccontextmanager
async def open_local(config: LocalPolicy) -> AsyncGenerator[LocalModel]:
    """Loads the model. Raises `CheckpointError` or `DataError` for a folder it can't use."""
    folder = model_folder(config.model)
    device = chosen_device(config.device)
    tokenizer = ChatTokenizer.load(folder)
    model = load_model(folder, device, getattr(torch, config.dtype))
    async with AsyncExitStack() as stack:
        if processes := sampling_processes(config, model):
            replicas = ReplicatedEngine(model, config.engine, processes=processes)
            engine = await stack.enter_async_context(replicas)
        else:
            engine = TorchEngine(model, config.engine)
        yield LocalModel(
            folder=folder, model=model, tokenizer=tokenizer, engine=engine, config=config
        )


def sampling_processes(config: LocalPolicy, model: Decoder) -> int:
    """How many processes sample beside this one. Raises `ConfigError`."""
    on_cpu = model.output_weight.device.type == "cpu"
    if config.processes is not None:
        if config.processes and not on_cpu:
            raise ConfigError("policy.processes: a model on a GPU is sampled in this process: 0")
        return config.processes
    cores = len(os.sched_getaffinity(0))
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL
    return min(cores, MOST_PROCESSES) if on_cpu and small and cores > 1 else 0


def model_folder(name: str) -> Path:
    """The folder of a model's name. Raises `ConfigError`."""
    folder = start_policy() if name == "start" else Path(name)
    if not folder.is_dir():
        raise ConfigError(f"policy.model: no such folder: {folder}")
    inner = folder / "model"  # in a checkpoint the optimizer stands beside the model
    return inner if inner.is_dir() and not (folder / "config.json").exists() else folder


def chosen_device(name: str) -> str:
    """The device of a name, where `auto` is the GPU if there is one. Raises `ConfigError`."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return name
