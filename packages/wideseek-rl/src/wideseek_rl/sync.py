"""The seam between a weight update and whatever samples with those weights."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from wideseek_rl.engine import TorchEngine


class WeightSync(Protocol):
    """Brings new weights to an engine.

    An engine in another process would be sent the weights when the block is left; asynchronous
    rollouts would go on inside it and carry their `version`.
    """

    def updating(self, version: int) -> AbstractAsyncContextManager[None]:
        """Wraps one change of the weights; what samples later is of this version."""
        ...


class EngineSync:
    """Keeps a `TorchEngine` in step with the module that both it and the backend hold."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def updating(self, version: int) -> AsyncGenerator[None]:
        """Nothing is sampled inside; then the engine takes over the weights as they are."""
        async with self._engine.paused():
            yield
            self._engine.reset_cache()
            self._engine.version = version


class NoSync:
    """For rollouts that no engine of ours makes."""

    @asynccontextmanager
    async def updating(self, version: int) -> AsyncGenerator[None]:
        """Does nothing."""
        yield
