"""A model of this machine, with the engine that samples from it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wideseek_agents import ChatTokenizer, TokenPolicy
from wideseek_apps.policy import LocalPolicy
from wideseek_core import Sampling
from wideseek_rl import PolicyModel, RolloutEngine, open_engine
from wideseek_rl.engines.hosts import EngineHosts


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model of this machine, with the engine that samples from it."""

    model: PolicyModel
    tokenizer: ChatTokenizer
    engine: RolloutEngine
    config: LocalPolicy

    def policy(self, temperature: float | None = None) -> TokenPolicy:
        """A policy over the engine, at the configured temperature or another."""
        config = self.config
        sampling = Sampling(
            temperature=config.temperature if temperature is None else temperature,
            top_p=config.top_p,
            max_tokens=config.turn_tokens,
            max_repeats=config.max_repeats,
        )
        return TokenPolicy(
            self.engine, self.tokenizer, context_tokens=config.window, sampling=sampling
        )


@asynccontextmanager
async def open_local(
    config: LocalPolicy, hosts: EngineHosts | None = None
) -> AsyncGenerator[LocalModel]:
    """Opens the engine. Raises `CheckpointError` or `DataError` for a folder it can't use."""
    model = PolicyModel(config)
    tokenizer = ChatTokenizer.load(model.folder)
    async with open_engine(config.engine, model, hosts) as engine:
        yield LocalModel(model=model, tokenizer=tokenizer, engine=engine, config=config)
