"""A rank's side of the channel: requests that every rank sees, answers from the first one."""

import os
import sys
from datetime import timedelta
from typing import Any, BinaryIO

import torch

from wideseek_core.frames import HEAD, PICKLE, Kind, frame, read_head
from wideseek_core.helper import connect_back
from wideseek_rl.trainers.remote.requests import Close, Request

PATIENCE = timedelta(days=365)
"""Ranks wait for the next request while rollouts are sampled, for however long that takes."""


class Channel:
    """Requests from the client, handed to every rank; answers from rank 0."""

    def __init__(self, rank: int, ends: tuple[BinaryIO, BinaryIO]) -> None:
        self._source, self._target = ends
        self._first = rank == 0
        self._group: Any = None

    def share(self) -> None:
        """Hands requests to all ranks from here on; torch's default group must be there."""
        distributed: Any = torch.distributed
        self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def request(self) -> Request:
        """The next request; `Close` if the client has gone."""
        held: list[Request] = [self._read() if self._first else Close()]
        if self._group is not None:
            distributed: Any = torch.distributed
            distributed.broadcast_object_list(held, src=0, group=self._group)
        return held[0]

    def meet(self) -> None:
        """Waits for all ranks."""
        if self._group is not None:
            distributed: Any = torch.distributed
            distributed.barrier(group=self._group)

    def answer(self, message: object) -> None:
        """Answers on rank 0; does nothing on the others."""
        if self._first:
            self._target.write(frame(Kind.ANSWER, 0, PICKLE.dumps(message)))
            self._target.flush()

    def _read(self) -> Request:
        head = self._source.read(HEAD.size)
        if len(head) < HEAD.size:
            return Close()
        return PICKLE.loads(self._source.read(read_head(head).size))


def channel_ends() -> tuple[BinaryIO, BinaryIO]:
    """Where requests come from and answers go; what else is printed goes to standard error."""
    connect_back()
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, target
