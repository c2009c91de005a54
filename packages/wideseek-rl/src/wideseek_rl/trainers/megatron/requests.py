"""What the client and the ranks send each other: pickles behind their length, 8 bytes, big-endian.

Both ends are processes of one user that share a pipe; nothing else may write to it. Arrays travel
as numpy, so that both ends may have different releases of torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel

from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig


class Setup(BaseModel):
    """What the ranks are started with."""

    model: Path
    """A model folder in Hugging Face format."""
    config: NemoAlignerConfig
    loss: LossConfig


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
class Weights:
    """All weights, one after another; answered by a `Weight` for each, then `Done`."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the copies of replicated parameters are apart; answered by `Metrics`."""


@dataclass(frozen=True, slots=True)
class Close:
    """No more requests; not answered."""


Request = Update | Logprobs | Save | Load | Weights | Drift | Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What an update did, by the names of `UpdateMetrics`."""

    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One array for each sample, with an entry for each trained token."""

    values: list[NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor by its Hugging Face name."""

    name: str
    values: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request that could not be carried out; the ranks end."""

    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out."""
