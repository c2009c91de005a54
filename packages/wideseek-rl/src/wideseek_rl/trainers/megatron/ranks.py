"""One rank of the trainer: `python -m wideseek_rl.trainers.megatron.ranks SETUP`.

Started by the client with the variables of `torch.distributed` (RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR, MASTER_PORT). Rank 0 reads requests, hands them to all ranks, and answers.
"""

import gc
import sys

import torch

from wideseek_core.config import environment
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.trainers.megatron import compat
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.remote.channel import Channel, channel_ends
from wideseek_rl.trainers.remote.ending import harmless, reported
from wideseek_rl.trainers.remote.requests import Close, Done, Metrics, Update


def main() -> None:
    """Trains until the client closes the channel."""
    rank = int(environment("RANK", "0"))
    channel = Channel(rank, channel_ends() if rank == 0 else (sys.stdin.buffer, sys.stdout.buffer))
    with reported(channel):
        _run(Setup.model_validate_json(sys.argv[1]), channel)


def _run(setup: Setup, channel: Channel) -> None:
    compat.install()
    # Only now can NeMo be imported.
    from wideseek_rl.trainers.megatron.fit import Client, Closed
    from wideseek_rl.trainers.megatron.opening import open_trainer

    def next_update() -> list[TrainingSample]:
        while True:
            request = channel.request()
            if isinstance(request, Close):
                raise Closed
            if isinstance(request, Update):
                return request.samples
            for answer in opened.answers(request):
                channel.answer(answer)

    def done(metrics: UpdateMetrics) -> None:
        channel.answer(Metrics.of(metrics))

    def failed(error: Exception) -> bool:
        answer = harmless(error, ranks=setup.config.ranks)
        if answer is not None:
            channel.answer(answer)
        return answer is not None

    opened = open_trainer(setup, Client(next_update=next_update, done=done, failed=failed))
    gc.freeze()  # what has been imported is no garbage, and much to search
    channel.share()
    channel.answer(Done())
    try:
        opened.trainer.fit()
    except Closed:
        pass
    finally:
        opened.close()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
