"""The trainer's end of vLLM's NCCL groups where vLLM is not installed: by NCCL alone.

vLLM's workers form their group without torch.distributed: a TCP store hands out NCCL's identifier,
a small sum warms up, and then tensors come as bytes, packed behind one another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from wideseek_rl.sync.nccl_library import (
    IDENTIFIER_BYTES,
    Communicator,
    new_identifier,
    open_communicator,
)
from wideseek_rl.sync.source import WeightSource

FIRST_KEY = "broadcast_from/0/0"
"""Where vLLM's workers look for the first object of rank 0."""


@dataclass(slots=True)
class PlainVllmSender:
    """Rank 0 of a group with vLLM's workers. A `Sender`."""

    buffer_bytes: int
    timeout_s: float = 300.0
    _store: Any = field(default=None, init=False)
    _communicator: Communicator | None = field(default=None, init=False)

    def join(self, address: str, port: int, world_size: int) -> None:
        """Meets the workers, and gives up a group that was there, in which a call may hang."""
        self.leave()
        distributed: Any = torch.distributed
        limit = timedelta(seconds=self.timeout_s)
        self._store = distributed.TCPStore(address, port, world_size, is_master=True, timeout=limit)
        identifier = new_identifier()
        self._store.set(FIRST_KEY, pickled_identifier(identifier))
        self._communicator = open_communicator(identifier, world_size, 0)
        self._communicator.all_reduce(torch.zeros(1, device="cuda"))
        torch.cuda.synchronize()

    def init_fields(self) -> dict[str, Any]:
        """Packing, for releases that read it when they join."""
        return {"packed": True, "packed_buffer_size_bytes": self.buffer_bytes}

    def update_fields(self) -> dict[str, Any]:
        """Packing, for releases that read it with each update."""
        return self.init_fields()

    def broadcast(self, source: WeightSource) -> None:
        """Sends all tensors."""
        assert self._communicator is not None
        for packed in packs(source, self.buffer_bytes):
            self._communicator.broadcast(packed, 0)
        torch.cuda.synchronize()

    def leave(self) -> None:
        """Gives up the communicator, in which the other ranks may be gone."""
        communicator, self._communicator, self._store = self._communicator, None, None
        if communicator is not None:
            communicator.abort()


def packs(source: WeightSource, buffer_bytes: int) -> Iterator[Tensor]:
    """All tensors as bytes behind one another, cut where more than so many bytes have come."""
    parts: list[Tensor] = []
    size = 0
    for _, tensor in source.tensors():
        parts.append(tensor.contiguous().flatten().view(torch.uint8))
        size += parts[-1].numel()
        if size > buffer_bytes:
            yield torch.cat(parts)
            parts, size = [], 0
    if parts:
        yield torch.cat(parts)


def pickled_identifier(identifier: bytes) -> bytes:
    """NCCL's identifier as vLLM's workers unpickle it: as an object of a class of theirs."""
    assert len(identifier) == IDENTIFIER_BYTES
    theirs = b"vllm.distributed.device_communicators.pynccl_wrapper\nncclUniqueId\n"
    state = b"}" + b"C" + bytes([IDENTIFIER_BYTES]) + identifier + b"\x86"  # ({}, identifier)
    return b"\x80\x03c_ctypes\n_unpickle\nc" + theirs + state + b"\x86R."
