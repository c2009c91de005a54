"""The interfaces between a weight update and whatever samples with those weights."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wideseek_rl.engines.control.protocol import ServerControl
    from wideseek_rl.sync.fanout import Failures

Commit = Callable[[int], None]
"""Says that the weights have changed, and how many updates they have seen now."""


class WeightSync(Protocol):
    """Brings the weights of a trainer to an engine."""

    def updating(self) -> AbstractAsyncContextManager[Commit]:
        """Wraps what may change the weights; the block calls what it is given if they changed.

        An engine that shares its memory with the trainer frees it inside; others sample on. Once
        the block is left, nothing is sampled with older weights or their cached keys and values,
        and what is sampled has the version that was committed. Responses under way are continued:
        each token keeps the version that sampled it. Raises `TrainError` if the engine can't take
        the weights.
        """
        ...


class NoSync:
    """For rollouts that no engine of this run samples."""

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        """Does nothing."""
        yield lambda _version: None


class Transport(Protocol):
    """A way for tensors to reach servers."""

    @property
    def separate(self) -> bool:
        """Whether each server can be met and sent to without the others."""
        ...

    async def connect(self, servers: "Sequence[ServerControl]") -> "Failures":
        """Meets servers before the first `send` to them.

        Where they can't be met separately, these are all there are from now on.
        """
        ...

    async def send(self, servers: "Sequence[ServerControl]", version: int) -> "Failures":
        """Sends all weights to paused servers and labels them. Nothing is sent twice."""
        ...

    async def close(self) -> None:
        """Frees what the transport holds."""
        ...


class ReplicaPool(Protocol):
    """The pool that requests for tokens go through."""

    @property
    def version(self) -> int:
        """Version of the weights that its replicas sample with."""
        ...

    @version.setter
    def version(self, value: int) -> None: ...

    @property
    def states(self) -> Mapping[str, str]:
        """The state of every replica, by address."""
        ...

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Sends nothing inside the block."""
        ...

    async def remove(self, url: str, problem: str = "") -> None:
        """Lets a replica go; with a `problem`, at once, and its requests are resent."""
        ...

    def mark_current(self, url: str) -> None:
        """Says that a replica has the weights of the pool's version."""
        ...
