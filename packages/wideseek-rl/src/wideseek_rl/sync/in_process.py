"""Weight sync with an engine that this process holds or has started."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from wideseek_rl.sync.protocol import Commit

if TYPE_CHECKING:
    from torch import Tensor

    from wideseek_rl.sync.source import WeightSource


class LoadsWeights(Protocol):
    """An engine that takes weights as tensors."""

    async def load_weights(self, tensors: "Iterator[tuple[str, Tensor]]", version: int) -> None:
        """Samples with these weights from now on, and labels them `version`."""
        ...


class InProcessSync:
    """Hands the tensors of a weight source to an engine; a `WeightSync`."""

    def __init__(self, engine: LoadsWeights, source: "WeightSource") -> None:
        self._engine, self._source = engine, source

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        """The engine samples on, with copies of the old weights, until the block is left."""
        versions: list[int] = []
        yield versions.append
        if versions:
            await self._engine.load_weights(self._source.tensors(), versions[-1])
