"""One rank of the torch trainer: `python -m wideseek_rl.trainers.remote.torch_ranks SETUP`.

Started with the variables of `torch.distributed` (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). Rank 0 reads requests, hands them to all ranks, and answers.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel

from wideseek_core import ConfigError
from wideseek_core.config import environment
from wideseek_core.counting import counted
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.open import open_model
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.ranks import DistributedRanks
from wideseek_rl.trainers.remote.channel import Channel, channel_ends
from wideseek_rl.trainers.remote.ending import harmless, reported
from wideseek_rl.trainers.remote.meeting import join_ranks
from wideseek_rl.trainers.remote.publishing import Publisher
from wideseek_rl.trainers.remote.requests import (
    Close,
    Compare,
    Connect,
    Describe,
    Described,
    Digest,
    Done,
    Failed,
    Load,
    Logprobs,
    Metrics,
    Request,
    Save,
    Send,
    Update,
    Values,
    Weight,
    Weights,
)
from wideseek_rl.trainers.torch import TorchTrainer


class TorchSetup(BaseModel):
    """What the ranks are started with."""

    model: Path
    """A model folder in Hugging Face format."""
    dtype: str
    """Of the parameters where one rank holds them all; several hold them in float32."""
    device: str
    """`cuda` or `cpu`."""
    config: TorchTrainerConfig
    loss: LossConfig
    adapter: Path | None = None
    """Of LoRA, where the settings train one."""


class TorchRank:
    """The trainer of this rank, and what can be asked of it."""

    def __init__(self, setup: TorchSetup, channel: Channel, *, count: int) -> None:
        device, self._count = _device(setup.device), count
        if count > 1:
            join_ranks("nccl" if device.type == "cuda" else "gloo")
            channel.share()
        model = open_model(setup.model, device, getattr(torch, setup.dtype))
        tokenizer = setup.model / "tokenizer.json"
        self._trainer = TorchTrainer(
            model,
            setup.config,
            setup.loss,
            tokenizer_file=tokenizer if tokenizer.is_file() else None,
            ranks=DistributedRanks() if count > 1 else None,
            adapter=setup.adapter,
        )
        first = environment("RANK", "0") == "0"
        self._publisher = Publisher(self._trainer.weights, first=first)

    def answers(self, request: Request) -> Iterator[object]:
        """Does what is asked for; gives what it is answered."""
        match request:
            case Update(samples):
                yield self._update(samples)
            case Logprobs(samples):
                yield Values(values=list(self._trainer.logprobs(samples)))
            case Save(folder) | Load(folder):
                act = self._trainer.save if isinstance(request, Save) else self._trainer.load
                act(folder)
                yield Done()
            case Describe():
                tensors = self._trainer.weights.metadata()
                yield Described(tensors=[(one.name, one.dtype, one.shape) for one in tensors])
            case Weights():
                for name, tensor in self._trainer.weights.tensors():
                    yield Weight(name=name, values=tensor.float().cpu().numpy())
                yield Done()
            case Connect() | Send() | Digest() | Compare():
                yield self._publisher.answer(request)
            case _:
                raise TypeError(f"not a request of the torch trainer: {request}")

    def _update(self, samples: Sequence[TrainingSample]) -> Metrics | Failed:
        """What an update did, or why it changed nothing: the weights can still be saved then."""
        try:
            return Metrics.of(self._trainer.update(samples))
        except Exception as error:  # whatever it is, another trainer may resume from here
            failed = harmless(error, ranks=self._count) if self._trainer.intact else None
            if failed is None:
                raise
            return failed

    def close(self) -> None:
        """Nothing is asked any more."""
        self._publisher.close()


def _device(name: str) -> torch.device:
    if name != "cuda":
        return torch.device(name)
    local = int(environment("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        raise ConfigError(f"rank {local} finds {counted(torch.cuda.device_count(), 'GPU')}")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def main() -> None:
    """Trains until the client closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rank, count = int(environment("RANK", "0")), int(environment("WORLD_SIZE", "1"))
    channel = Channel(rank, channel_ends() if rank == 0 else (sys.stdin.buffer, sys.stdout.buffer))
    with reported(channel):
        opened = TorchRank(TorchSetup.model_validate_json(sys.argv[1]), channel, count=count)
        channel.meet()  # only when all ranks hold the model have they started
        channel.answer(Done())
        while not isinstance(request := channel.request(), Close):
            for answer in opened.answers(request):
                channel.answer(answer)
        opened.close()


if __name__ == "__main__":
    main()
