"""The language model: on this machine, or behind an endpoint. Torch is loaded by the first only."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field

from wideseek_agents import ChatPolicy, ChatPolicyConfig
from wideseek_core import Config, Policy
from wideseek_rl.engines.builtin.config import EngineConfig


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


@asynccontextmanager
async def open_policy(config: PolicyConfig) -> AsyncGenerator[Policy]:
    """A policy to talk to. Raises `PolicyUnavailable` for an endpoint that nobody serves."""
    if isinstance(config, EndpointPolicy):
        # Nobody listening is reported at once, without the patience of a request.
        once = config.model_copy(update={"max_attempts": 1, "timeout_s": 30.0})
        async with ChatPolicy(once) as probe:
            await probe.reach()
        async with ChatPolicy(config) as policy:
            yield policy
    else:
        from wideseek_apps.local_model import open_local

        async with open_local(config) as local:
            yield local.policy()
