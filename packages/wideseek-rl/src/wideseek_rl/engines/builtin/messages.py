"""What a process and its `worker` say to each other: pickles behind their length.

Both ends are one program on one machine, each other's only correspondents.
"""

import asyncio
import pickle
import struct
from dataclasses import dataclass
from typing import Any

import torch

from wideseek_core.errors import PolicyError
from wideseek_core.policy import Generated, Sampling
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.models.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: what to sample from. `Weights` follow."""

    shape: DecoderConfig
    dtype: torch.dtype
    """Of the model's parameters."""
    config: BuiltinEngineConfig


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights to sample with from now on; answered with the version."""

    version: int
    state: bytes
    """A state dict in safetensors format."""


@dataclass(frozen=True, slots=True)
class Generate:
    """One request; answered with `Answer`."""

    number: int
    ids: tuple[int, ...]
    session: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this request any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Close:
    """A session gets no more requests."""

    session: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    number: int
    outcome: Generated | PolicyError


def packed(message: object) -> bytes:
    """A message as it is sent."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return struct.pack("!Q", len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises `EOFError` when the other end is gone, even amid a message."""
    (length,) = struct.unpack("!Q", await reader.readexactly(8))
    return pickle.loads(await reader.readexactly(length))
