"""Opens the engine of a configuration: the one place that tells vLLM and SGLang apart."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_agents.engines.config import AnyServersConfig, VllmServersConfig
from wideseek_agents.engines.pool import EnginePool
from wideseek_agents.engines.replica import Replica
from wideseek_agents.engines.sglang import SglangReplica
from wideseek_agents.engines.vllm import VllmReplica


@asynccontextmanager
async def open_servers(config: AnyServersConfig, *, vocab_size: int) -> AsyncGenerator[EnginePool]:
    """A pool over servers that already run, checked.

    Raises `PolicyError` for servers that do not answer, and `ConfigError` for ones that can't be
    used as they were started.
    """

    def connect(url: str) -> Replica:
        if isinstance(config, VllmServersConfig):
            return VllmReplica(url, config)
        return SglangReplica(url, config)

    async with EnginePool(config, connect, vocab_size=vocab_size) as pool:
        await pool.check()
        yield pool
