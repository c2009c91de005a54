"""What a trainer's client and its ranks send each other: pickles in frames.

Both ends are processes of one user that share a channel; nothing else may write to it. Arrays
travel as numpy, so that both ends may have different releases of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.protocol import Algorithm, Checksums
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.trainers.protocol import UpdateMetrics, measured


@dataclass(frozen=True, slots=True)
class Update:
    """Train on the samples of one step; answered by `Metrics`."""

    samples: list[TrainingSample]


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities of the trained tokens of samples; answered by `Values`."""

    samples: list[TrainingSample]


@dataclass(frozen=True, slots=True)
class Save:
    """Write model and optimizer into a folder; answered by `Done`."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Load:
    """Take over what `Save` wrote; answered by `Done`."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Describe:
    """Names, types and shapes of the weights; answered by `Described`."""


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights, one after another; answered by a `Weight` for each, then `Done`."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the copies of replicated parameters are apart; answered by `Metrics`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How weights reach the servers that sample."""

    kind: Literal["vllm", "sglang"]
    sync: SyncConfig
    control: ControlConfig
    dtype: str
    """Type of the servers' weights, as torch names it."""
    ranks: int = 1
    """GPUs of each server."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Meet servers, by address; answered by `Reached`."""

    servers: tuple[str, ...]
    route: Route


@dataclass(frozen=True, slots=True)
class Send:
    """Send all weights to paused servers as a version; answered by `Reached`."""

    servers: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Digest:
    """Compute checksums of what was sent, which `Compare` then needs; answered by `Done`."""

    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class Compare:
    """Which tensors of each server are not what was sent; answered by `Reached`."""

    reported: Mapping[str, Checksums]


@dataclass(frozen=True, slots=True)
class Close:
    """No more requests; not answered."""


Request = (
    Update
    | Logprobs
    | Save
    | Load
    | Describe
    | Weights
    | Drift
    | Connect
    | Send
    | Digest
    | Compare
    | Close
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What an update did, by the names of `UpdateMetrics`; what was not measured is left out."""

    values: dict[str, float]

    @classmethod
    def of(cls, update: UpdateMetrics) -> "Metrics":
        """The message about an update."""
        return cls(values=measured(update))

    def update(self) -> UpdateMetrics:
        """The update that the message is about."""
        return UpdateMetrics(**self.values)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One array for each sample."""

    values: list[NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor by its Hugging Face name."""

    name: str
    values: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Name, type and shape of every tensor, in the order in which they are sent."""

    tensors: list[tuple[str, str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Why servers failed, by address; the others did not."""

    failures: dict[str, str]
    peers: frozenset[str] = frozenset()
    """Those of them that are not at fault: another server of the group failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request that could not be carried out; the ranks end, unless they are `intact`."""

    message: str
    error: str = "TrainError"
    """Name of the error in `wideseek_core.errors`."""
    intact: bool = False
    """Whether the ranks are as they were before the request, and wait for the next one."""


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out."""
