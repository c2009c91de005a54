"""Policies over vLLM and SGLang servers that already run: ids in, ids out, without torch."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from wideseek_agents.engines.config import SglangServersConfig, VllmServersConfig
from wideseek_agents.engines.open import open_servers
from wideseek_agents.policies.token import TokenPolicy
from wideseek_agents.tokens import ChatTokenizer
from wideseek_core import Config, ConfigError, Sampling


class _SamplingSettings(Config):
    tokenizer: Path
    """Model folder, of which only the tokenizer and the configuration are read."""
    context_tokens: int = Field(default=32_000, ge=64)
    """Tokens of one agent's whole conversation."""
    turn_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one turn; null lets a turn fill the context."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_repeats: int | None = Field(default=None, ge=2)
    """Times that a turn may repeat the same tokens at its end, some 100 tokens in all, before
    it ends with the first of them; null for any number. The servers sample to the end of the
    turn all the same."""


class VllmPolicyConfig(VllmServersConfig, _SamplingSettings):
    """A model behind vLLM servers, sampled by token ids."""


class SglangPolicyConfig(SglangServersConfig, _SamplingSettings):
    """A model behind SGLang servers, sampled by token ids."""


ServedPolicyConfig = Annotated[VllmPolicyConfig | SglangPolicyConfig, Field(discriminator="kind")]


class _ModelShape(BaseModel):
    vocab_size: int = Field(ge=1)


@asynccontextmanager
async def open_served_policy(
    config: VllmPolicyConfig | SglangPolicyConfig,
) -> AsyncGenerator[TokenPolicy]:
    """A policy over the servers. Raises `ConfigError`, `DataError` and `PolicyError`."""
    tokenizer = ChatTokenizer.load(config.tokenizer)
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.turn_tokens or config.context_tokens,
        max_repeats=config.max_repeats,
    )
    async with open_servers(config, vocab_size=vocabulary_size(config.tokenizer)) as engine:
        yield TokenPolicy(
            engine, tokenizer, context_tokens=config.context_tokens, sampling=sampling
        )


def vocabulary_size(folder: Path) -> int:
    """The size of a model's embedding, from its configuration. Raises `ConfigError`."""
    path = folder / "config.json"
    try:
        return _ModelShape.model_validate_json(path.read_bytes()).vocab_size
    except OSError as error:
        raise ConfigError(f"tokenizer: {path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise ConfigError(f"tokenizer: {path}: vocab_size: {error.errors()[0]['msg']}") from None
