"""Engines behind HTTP: vLLM and SGLang servers, several of them as one `TokenEngine`."""

from wideseek_agents.engines.config import (
    AnyServersConfig,
    SglangServersConfig,
    VllmServersConfig,
)
from wideseek_agents.engines.open import open_servers
from wideseek_agents.engines.pool import EnginePool

__all__ = [
    "AnyServersConfig",
    "EnginePool",
    "SglangServersConfig",
    "VllmServersConfig",
    "open_servers",
]
