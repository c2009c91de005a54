"""One rank of the trainer: `python -m wideseek_rl.trainers.megatron.ranks SETUP.json`.

Started by the client with the variables of `torch.distributed` (RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR, MASTER_PORT). Rank 0 reads requests from its standard input, hands them to all ranks,
and writes the answers to its standard output; what libraries print goes to standard error.
"""

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import torch
import torch.distributed as dist

from wideseek_core import WideSeekError
from wideseek_core.config import environment
from wideseek_core.frames import HEAD, PICKLE, Kind, frame, read_head
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.trainers.megatron import compat
from wideseek_rl.trainers.megatron.requests import (
    Close,
    Done,
    Failed,
    Metrics,
    Request,
    Setup,
    Update,
)


class Channel:
    """Requests from the client, seen by every rank; answers from rank 0."""

    def __init__(self, group: Any, source: BinaryIO, target: BinaryIO) -> None:
        self._group, self._source, self._target = group, source, target
        self._first = dist.get_rank() == 0

    def request(self) -> Request:
        """The next request; `Close` if the client has gone."""
        held: list[Request] = [self._read() if self._first else Close()]
        dist.broadcast_object_list(held, src=0, group=self._group)
        return held[0]

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


def main() -> None:
    """Trains until the client closes the channel."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    try:
        _run(Setup.model_validate_json(Path(sys.argv[1]).read_text("utf-8")), source, target)
    except WideSeekError as error:
        if environment("RANK", "0") == "0":
            target.write(frame(Kind.ANSWER, 0, PICKLE.dumps(Failed(message=str(error)))))
            target.flush()
        raise SystemExit(2) from error


def _run(setup: Setup, source: BinaryIO, target: BinaryIO) -> None:
    compat.install()
    # Only now can NeMo be imported.
    from wideseek_rl.trainers.megatron.fit import Closed
    from wideseek_rl.trainers.megatron.opening import open_trainer

    channel: Channel | None = None

    def next_update() -> list[TrainingSample]:
        assert channel is not None
        while True:
            request = channel.request()
            if isinstance(request, Close):
                raise Closed
            if isinstance(request, Update):
                return request.samples
            for answer in opened.answers(request):
                channel.answer(answer)

    def done(metrics: dict[str, float]) -> None:
        assert channel is not None
        channel.answer(Metrics(values=metrics))

    opened = open_trainer(setup, next_update=next_update, done=done)
    channel = Channel(dist.new_group(backend="gloo"), source, target)
    channel.answer(Done())
    try:
        opened.trainer.fit()
    except Closed:
        pass
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
