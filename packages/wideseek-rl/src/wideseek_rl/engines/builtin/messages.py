"""What a `ReplicatedEngine` asks of its helper processes, and tells them."""

from dataclasses import dataclass

import torch

from wideseek_core.policy import Sampling
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.models.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class Setup:
    """The first request of a process: the model to sample from. `LoadWeights` follows."""

    shape: DecoderConfig
    dtype: torch.dtype
    """Of the model's parameters."""
    config: BuiltinEngineConfig


@dataclass(frozen=True, slots=True)
class LoadWeights:
    """Weights to sample with from now on."""

    version: int
    state: bytes
    """A state dict in safetensors format."""


@dataclass(frozen=True, slots=True)
class Generate:
    """One request for tokens; the answer is a `Generated`."""

    ids: tuple[int, ...]
    session: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class CloseSession:
    """A session gets no more requests."""

    session: str
