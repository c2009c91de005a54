"""Opens the rollout engine that a configuration names.

Engines of installed distributions are `Plugin` entry points of `wideseek.engines`: `open` takes the
configuration and the `PolicyModel`, and returns an async context manager of a `RolloutEngine`.
Those of `wideseek.served_engines` are given the `EngineHosts` too.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_core import Config
from wideseek_core.plugins import opener
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.engines.protocol import RolloutEngine
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.models.policy import PolicyModel

ENGINES = "wideseek.engines"
SERVED_ENGINES = "wideseek.served_engines"
"""Openers of vLLM and SGLang, whose requests are made by a package that this one does not know."""


@asynccontextmanager
async def open_engine(
    config: Config, model: PolicyModel, hosts: EngineHosts | None = None
) -> AsyncGenerator[RolloutEngine]:
    """The engine of a configuration, with the weights of the model. Raises `ConfigError`."""
    match config:
        case BuiltinEngineConfig():
            from wideseek_rl.engines.builtin.open import open_builtin

            async with open_builtin(config, model, hosts) as engine:
                yield engine
        case VllmEngineConfig() | SglangEngineConfig():
            async with opener(SERVED_ENGINES, config)(config, model, hosts) as engine:
                yield engine
        case _:
            async with opener(ENGINES, config)(config, model) as engine:
                yield engine
