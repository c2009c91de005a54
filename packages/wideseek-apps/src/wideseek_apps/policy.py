"""The language model: on this machine, or behind servers. Torch is loaded by the first only."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from wideseek_agents import ChatPolicy, ChatPolicyConfig
from wideseek_agents.policies import SglangPolicyConfig, VllmPolicyConfig, open_served_policy
from wideseek_apps.profiles import general_window, profile_of, taught_limits
from wideseek_core import Config, Policy
from wideseek_rl import BuiltinEngineConfig, EngineConfig, ModelConfig


class LocalPolicy(ModelConfig):
    """A model on this machine, sampled by a rollout engine."""

    kind: Literal["local"] = "local"
    engine: EngineConfig = BuiltinEngineConfig(dtype="auto")
    window: int = Field(default=4096, ge=64)
    """Tokens of one agent's whole conversation. A model that was taught to work as an agent gets
    what its `wideseek.json` says, else the default; any other gets its own window, of 32,000 tokens
    at most."""
    turn_tokens: int = Field(default=512, ge=1)
    """Most tokens of one turn, likewise; a model that was not taught so has no limit but its
    window."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_repeats: int | None = Field(default=None, ge=2)
    """Times that a turn may repeat the same tokens at its end, some 100 tokens in all, before
    it ends with the first of them; null for any number. Small models repeat themselves when they
    are sampled greedily. `ask` sets it to 3; policies in training must not have it."""

    @model_validator(mode="before")
    @classmethod
    def _has_the_limits_of_its_model(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        raw = cast(dict[str, Any], values)
        if profile_of(raw) is not None:
            return taught_limits(raw) | raw
        window = raw.get("window", general_window(raw.get("model")))
        return {"window": window, "turn_tokens": window} | raw


class EndpointPolicy(ChatPolicyConfig):
    """A model behind an OpenAI-compatible endpoint (vLLM, SGLang, a hosted one)."""

    kind: Literal["endpoint"] = "endpoint"


PolicyConfig = Annotated[
    LocalPolicy | EndpointPolicy | VllmPolicyConfig | SglangPolicyConfig,
    Field(discriminator="kind"),
]


class RolloutPolicy(Config):
    """The model whose rollouts are run, asked greedily."""

    kind: Literal["rollout"] = "rollout"


HelperPolicy = Annotated[
    LocalPolicy | EndpointPolicy | VllmPolicyConfig | SglangPolicyConfig | RolloutPolicy,
    Field(discriminator="kind"),
]
"""A model that judges or summarizes: one of its own, or the one whose rollouts are run."""


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that agents talk to."""

    policy: Policy
    greedy: Policy | None
    """The same, sampled greedily, where that was asked for."""


@asynccontextmanager
async def open_model(config: PolicyConfig, *, with_greedy: bool) -> AsyncGenerator[OpenModel]:
    """A model, and with it a greedy policy over it for `RolloutPolicy`. Raises `PolicyError`."""
    if isinstance(config, LocalPolicy):
        from wideseek_apps.local_model import open_local

        async with open_local(config) as local:
            yield OpenModel(local.policy(), local.policy(0.0))
        return
    async with AsyncExitStack() as stack:
        policy = await stack.enter_async_context(open_policy(config))
        greedy = policy
        if with_greedy and config.temperature:
            again = config.model_copy(update={"temperature": 0.0})
            greedy = await stack.enter_async_context(open_policy(again))
        yield OpenModel(policy, greedy if with_greedy else None)


@asynccontextmanager
async def open_helper(
    config: HelperPolicy | None, rollout: Policy | None
) -> AsyncGenerator[Policy | None]:
    """The policy of a model that judges or summarizes; `rollout` is that of the rollouts."""
    if config is None:
        yield None
    elif isinstance(config, RolloutPolicy):
        yield rollout
    else:
        async with open_policy(config) as policy:
            yield policy


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
    elif isinstance(config, VllmPolicyConfig | SglangPolicyConfig):
        async with open_served_policy(config) as policy:
            yield policy
    else:
        from wideseek_apps.local_model import open_local

        async with open_local(config) as local:
            yield local.policy()
