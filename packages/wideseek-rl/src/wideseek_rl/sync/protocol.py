"""The seam between a weight update and whatever samples with those weights."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from wideseek_rl.engines.builtin import TorchEngine

Commit = Callable[[int], None]
"""Says that the weights have changed, and how many updates they have seen now."""


class WeightSync(Protocol):
    """Brings new weights to an engine.

    An engine in another process would be sent the weights when the block is left; asynchronous
    rollouts would go on inside it and carry their `version`.
    """

    def updating(self) -> AbstractAsyncContextManager[Commit]:
        """Wraps what may change the weights; the block calls what it is given if it did.

        What samples later is of the version that was told. Left without a call, all stays.
        """
        ...


class EngineSync:
    """Keeps a `TorchEngine` in step with the module that both it and the backend hold."""

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


class NoSync:
    """For rollouts that no engine of ours makes."""

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        """Tells nobody."""
        yield lambda _version: None
