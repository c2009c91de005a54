"""Opens the language model: on this machine, or behind an endpoint."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import httpx
import torch
from pydantic import Field

from wideseek_agents import ChatPolicy, ChatPolicyConfig, ChatTokenizer, TokenPolicy
from wideseek_agents.policies.endpoint import is_local
from wideseek_core import Config, ConfigError, Policy, PolicyUnavailable, Sampling
from wideseek_rl import (
    Decoder,
    EngineConfig,
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


class LocalPolicy(Config):
    """A Qwen3 model in Hugging Face format, run on this machine."""

    kind: Literal["local"] = "local"
    model: str = "start"
    """A model folder, a training checkpoint, or `start` for the small policy of wideseek-rl."""
    device: str = "auto"
    """`auto` takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    engine: EngineConfig = EngineConfig(dtype="auto")
    processes: int | None = Field(default=None, ge=0)
    """Processes that sample side by side, each on one core of the CPU; 0 samples in this process.
    Without a number: one per core, at most 8, for small models on CPUs of several cores, else 0."""
    window: int = Field(default=4096, ge=64)
    """Tokens of one agent's whole conversation."""
    turn_tokens: int = Field(default=512, ge=1)
    """Most tokens of one turn."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)


class EndpointPolicy(ChatPolicyConfig):
    """A model behind an OpenAI-compatible endpoint (vLLM, SGLang, a hosted one)."""

    kind: Literal["endpoint"] = "endpoint"


PolicyConfig = Annotated[LocalPolicy | EndpointPolicy, Field(discriminator="kind")]


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


async def _reach(url: str) -> None:
    """Raises `PolicyUnavailable` if nobody listens: at once, without the patience of a request."""
    try:
        async with httpx.AsyncClient(timeout=30.0, trust_env=not is_local(url)) as client:
            await client.get(f"{url.rstrip('/')}/models")
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise PolicyUnavailable(f"{url} can't be reached: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        return  # What else may be wrong is told by the first request.


@asynccontextmanager
async def open_policy(config: PolicyConfig) -> AsyncGenerator[Policy]:
    """A policy to talk to. Raises `PolicyUnavailable` for an endpoint that nobody serves."""
    if isinstance(config, EndpointPolicy):
        await _reach(config.base_url)
        async with ChatPolicy(config) as policy:
            yield policy
    else:
        async with open_local(config) as local:
            yield local.policy()
