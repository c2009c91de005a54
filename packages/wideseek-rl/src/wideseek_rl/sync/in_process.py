"""Weights of an engine in this process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_rl.engines.builtin import TorchEngine
from wideseek_rl.sync.protocol import Commit


class EngineSync:
    """Keeps a `TorchEngine` in step with the module that both it and the trainer hold."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        """Nothing is sampled inside; then the engine takes over weights that have changed."""
        versions: list[int] = []
        async with self._engine.paused():
            yield versions.append
            if versions:
                self._engine.reset_cache()
                self._engine.version = versions[-1]
