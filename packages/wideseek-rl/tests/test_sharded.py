"""A model spread over two processes trains as in one."""

import os
import random
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from wideseek_core import ConfigError
from wideseek_core.ports import free_port
from wideseek_rl import LossConfig, OptimizerConfig, TorchTrainerConfig
from wideseek_rl.batch.packing import BatchShape, plan
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.lora_config import LoraConfig
from wideseek_rl.models.spread import whole
from wideseek_rl.testing import make_sample, tiny_model
from wideseek_rl.trainers.adamw import advance_plainly
from wideseek_rl.trainers.masters import MasterAdamW
from wideseek_rl.trainers.ranks import DistributedRanks, shard
from wideseek_rl.trainers.torch import TorchTrainer

CONFIG = TorchTrainerConfig(
    optimizer=OptimizerConfig(lr=1e-2, grad_clip=0.5),
    attention="packed",
    max_batch_tokens=90,
    updates_per_step=2,
    recompute_logprobs=True,
)
LOSS = LossConfig(kl=0.05)
GATHERED = CONFIG.model_copy(update={"keep_gathered": True})
HALF = CONFIG.model_copy(update={"autocast": "bfloat16"})
ADAPTED = CONFIG.model_copy(update={"lora": LoraConfig(rank=4)})


class Poisoned(Decoder):
    """Gives no numbers for sequences that hold a certain token."""

    def hidden(self, ids: torch.Tensor, *arguments: object) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        states = super().hidden(ids, *arguments)  # pyright: ignore[reportArgumentType]
        return torch.where((ids == 16)[..., None], torch.nan, states)


def samples(count: int = 11) -> list[TrainingSample]:
    rng = random.Random(0)
    shared = [rng.randrange(3, 16) for _ in range(12)]
    found: list[TrainingSample] = []
    for number in range(count):
        ids = [*shared[: rng.randrange(3, 12)], *(rng.randrange(3, 16) for _ in range(20))]
        found.append(make_sample(ids, advantage=rng.uniform(-1, 1), group=number % 5))
    return found


def poisoned(sample: TrainingSample) -> TrainingSample:
    """Its last token has no log-probability in a `Poisoned` model."""
    ids = np.array(sample.ids)
    ids[-2] = 16
    return replace(sample, ids=ids)


def silent(sample: TrainingSample) -> TrainingSample:
    """The sampler gave no log-probabilities: it is left out before it runs."""
    return replace(sample, logprobs=np.full(len(sample), np.nan, dtype=np.float32))


def poisoned_model() -> Decoder:
    model = Poisoned(tiny_model().config)
    model.load_state_dict(tiny_model().state_dict())
    return model


def train(folder: Path, ranks: DistributedRanks | None) -> dict[str, Any]:
    """Trains, saves, loads into another trainer, trains again, and survives a broken sample.

    Then the same with adapters in place of all weights.
    """
    first = TorchTrainer(tiny_model(), CONFIG, LOSS, ranks=ranks)
    metrics = [asdict(first.update(samples())) for _ in range(2)]
    first.save(folder)
    second = TorchTrainer(tiny_model(seed=5), CONFIG, LossConfig(), ranks=ranks)
    second.load(folder)
    metrics.append(asdict(second.update(samples())))
    broken = TorchTrainer(poisoned_model(), CONFIG, LossConfig(), ranks=ranks)
    some = samples()
    some[4], some[5] = poisoned(some[4]), silent(some[5])
    metrics.append(asdict(broken.update(some)))
    adapted = TorchTrainer(tiny_model(), ADAPTED, LOSS, ranks=ranks)
    metrics.append(asdict(adapted.update(samples())))
    adapted.save(folder / "adapted")
    resumed = TorchTrainer(tiny_model(), ADAPTED, LOSS, ranks=ranks)
    resumed.logprobs(samples())  # after which `load` must reach the adapters that train
    resumed.load(folder / "adapted")
    metrics.append(asdict(resumed.update(samples())))
    gathered = TorchTrainer(tiny_model(), GATHERED, LossConfig(), ranks=ranks)
    gathered.update(samples())
    logprobs = gathered.logprobs(samples())
    gathered.load(folder)
    metrics.append(asdict(gathered.update(samples())))
    half = TorchTrainer(tiny_model(), HALF, LossConfig(), ranks=ranks)
    half.logprobs(samples())  # computes in bfloat16, and leaves float32 weights
    trainers = (first, second, broken, adapted, resumed, gathered, half)
    weights = [dict(trainer.weights.tensors()) for trainer in trainers]
    weights.append(steps_in_one_pass(ranks))
    weights[-1]["logprobs"] = torch.cat([torch.as_tensor(values) for values in logprobs])
    return {"metrics": metrics, "weights": weights}


def large_logits(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (states @ weight.mT).exp().sum()


def steps_in_one_pass(ranks: DistributedRanks | None) -> dict[str, torch.Tensor]:
    """Weights after steps of the optimizer that a GPU has, and their norms."""
    model = tiny_model()
    if ranks is not None:
        shard(model, torch.float32)
    optimizer = MasterAdamW(model, CONFIG.optimizer, advance_plainly)
    ids = torch.arange(3, 15)[None]
    norms: list[float] = []
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(model(ids, torch.tensor([12]), None, large_logits))
        norms.append(optimizer.step(1e-2).norm)
    found = {name: whole(p.detach()).clone() for name, p in model.named_parameters()}
    return {**found, "norms": torch.tensor(norms)}


def rank_main(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = train(Path(folder), DistributedRanks())
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    distributed.destroy_process_group()


@dataclass(frozen=True)
class Part:
    """A rank's part of a tensor, of ranks that can send from the memory of GPUs alone."""

    device: torch.device
    device_mesh: Any = field(default_factory=lambda: SimpleNamespace(device_type="cuda"))

    def to(self, device: str) -> "Part":
        """A copy on a device."""
        return Part(torch.device(device))

    def full_tensor(self) -> torch.Tensor:
        """The whole, if it can be sent."""
        if self.device.type != "cuda":
            raise RuntimeError(f"No backend type associated with device type {self.device.type}")
        return torch.ones(2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_parts_in_the_memory_of_the_host_are_gathered_by_gpus(device: str) -> None:
    found = whole(cast(torch.Tensor, Part(torch.device(device))))
    assert torch.equal(found, torch.ones(2))


def test_two_ranks_make_the_updates_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    port = str(free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), port, str(tmp_path / "two")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=1200)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    one = train(tmp_path / "one", None)
    two = [torch.load(tmp_path / "two" / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]
    for found in two:
        for wanted, weights in zip(one["weights"], found["weights"], strict=True):
            assert list(wanted) == list(weights)
            for name, tensor in wanted.items():
                torch.testing.assert_close(weights[name], tensor, atol=2e-5, rtol=1e-4)
        for wanted, metrics in zip(one["metrics"], found["metrics"], strict=True):
            for name in ("loss", "grad_norm", "ratio", "entropy", "kl", "mismatch", "mismatch_kl"):
                assert metrics[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-6), name
            if wanted["reference_kl"] is not None:
                close = pytest.approx(wanted["reference_kl"], rel=1e-3, abs=1e-6)
                assert metrics["reference_kl"] == close
            assert metrics["updates"] == wanted["updates"] == 2
            for name in ("tokens_trained", "samples", "masked_tokens", "masked_samples"):
                assert metrics[name] == wanted[name], name
    # Of both ranks, the smallest passes included that one makes beside the other's last.
    assert [found["metrics"][0]["micro_batches"] % 2 for found in two] == [0, 0]
    assert one["metrics"][0]["micro_batches"] > 0
    broken = one["metrics"][3]
    assert (broken["masked_samples"], broken["masked_tokens"]) == (2, 16)


def test_several_ranks_need_a_process_group() -> None:
    with pytest.raises(ConfigError, match="init_process_group"):
        DistributedRanks()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_packed_sequences_come_in_multiples_of_the_ranks(ranks: int) -> None:
    batches = plan(samples(40), BatchShape(max_tokens=128, kind="packed", share=False, ranks=ranks))
    assert len(batches) % ranks == 0
    sizes = [sum(len(tree) for tree in batch) for batch in batches]
    assert max(sizes) <= 128
    assert min(sizes) > 0
    assert sum(sizes) == sum(len(sample) for sample in samples(40))


if __name__ == "__main__":
    rank_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
