"""Training by NeMo-Aligner against the torch trainer, on the CPU, in an environment that has it.

Run by `nox -s nemo_aligner`. Each case starts real ranks, which talk over gloo.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wideseek_core import TrainError
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import load_model, save_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.trainers.config import LossConfig, OptimizerConfig, TorchTrainerConfig
from wideseek_rl.trainers.megatron.client import NemoAlignerTrainer, open_nemo_aligner
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.objectives.config import CorrectionConfig
from wideseek_rl.trainers.torch import TorchTrainer

pytestmark = pytest.mark.nemo_aligner

OPTIMIZER = OptimizerConfig(lr=1e-2, grad_clip=0.5, warmup_updates=2)

FAMILIES = {
    "qwen3": {},
    "qwen2": {"family": "qwen2", "qk_norm": False, "qkv_bias": True},
    "llama": {"family": "llama", "qk_norm": False, "tied_embeddings": False},
}


def tiny(**switches: Any) -> Decoder:
    """A random model whose vocabulary does not divide evenly among two ranks."""
    config = DecoderConfig(
        vocab_size=301, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_size=96,
        eos_ids=(2,), **switches,
    )  # fmt: skip
    model = new_model(config, 0)
    with torch.no_grad():  # vectors that start at 0 or 1 would hide that two are exchanged
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return model


def some_samples(count: int = 7, seed: int = 0) -> list[TrainingSample]:
    """Random samples of different lengths, each training its second half."""
    rng = np.random.default_rng(seed)
    made: list[TrainingSample] = []
    for number in range(count):
        length = int(rng.integers(5, 40))
        weights = np.zeros(length, np.float32)
        weights[length // 2 :] = rng.random(length - length // 2) / 50
        made.append(
            TrainingSample(
                ids=rng.integers(0, 301, length).astype(np.int32),
                weights=weights,
                advantages=np.full(length, rng.normal(), np.float32),
                logprobs=np.full(length, -5.7, np.float32),
                group=number % 3,
            )
        )
    return made


@asynccontextmanager
async def opened(
    model: Decoder, folder: Path, loss: LossConfig, **settings: Any
) -> AsyncGenerator[NemoAlignerTrainer]:
    """Ranks that hold a copy of the model."""
    save_model(model, folder / "start", None)
    config = NemoAlignerConfig(optimizer=OPTIMIZER, max_batch_tokens=64, **settings)
    copy = PolicyModel(ModelConfig(model=str(folder / "start"), device="cpu"))
    async with open_nemo_aligner(config, loss, copy) as trainer:
        yield trainer


def weights_of(trainer: NemoAlignerTrainer) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in trainer.weights.tensors()}


def relative_change(
    found: dict[str, NDArray[Any]], model: Decoder, start: dict[str, NDArray[Any]]
) -> float:
    """How far the change of all weights is from that of a model, in units of the latter."""
    wanted = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert found.keys() == wanted.keys()
    distance = sum(float(((found[n] - wanted[n]) ** 2).sum()) for n in wanted)
    change = sum(float(((wanted[n] - start[n]) ** 2).sum()) for n in wanted)
    return (distance / change) ** 0.5


@dataclass(frozen=True, slots=True)
class Division:
    """How the ranks share the work."""

    tensor_parallel: int = 1
    data_parallel: int = 1
    sequence_parallel: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of a `NemoAlignerConfig`."""
        return {name: getattr(self, name) for name in self.__slots__}


async def follows_torch(
    model: Decoder,
    folder: Path,
    loss: LossConfig,
    division: Division,
    batches: Sequence[Sequence[TrainingSample]],
    **shared: Any,
) -> None:
    """Asserts that updates by the ranks have the loss, the gradient and the effect of torch's."""
    start = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    async with opened(model, folder, loss, **division.settings, **shared) as trainer:
        settings = TorchTrainerConfig(optimizer=OPTIMIZER, share_prefixes=False, **shared)
        torch_trainer = TorchTrainer(model, settings, loss)
        for samples in batches:
            wanted, found = torch_trainer.update(samples), await trainer.update(samples)
            assert found.loss == pytest.approx(wanted.loss, rel=1e-5, abs=1e-7)
            assert found.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-5)
            assert found.lr == wanted.lr
            assert found.entropy == pytest.approx(wanted.entropy, rel=1e-5)
            assert (found.updates, found.tokens_trained) == (wanted.updates, wanted.tokens_trained)
        assert relative_change(weights_of(trainer), model, start) < 1e-3


@pytest.mark.parametrize(
    "family", ["qwen3", "llama", pytest.param("qwen2", marks=pytest.mark.slow)]
)
async def test_updates_of_each_family_are_those_of_the_torch_trainer(
    family: str, tmp_path: Path
) -> None:
    model, division = tiny(**FAMILIES[family]), Division(tensor_parallel=2)
    batches = [some_samples(seed=seed) for seed in range(3)]
    await follows_torch(model, tmp_path, LossConfig(), division, batches)


@pytest.mark.parametrize(
    "division",
    [Division(tensor_parallel=2, sequence_parallel=True), Division(data_parallel=2)],
    ids=str,
)
async def test_updates_do_not_depend_on_the_division_among_ranks(
    division: Division, tmp_path: Path
) -> None:
    # One sample: a data-parallel rank has nothing to do and must still join in.
    batches = [some_samples(), some_samples(1, seed=1), some_samples(seed=2)]
    await follows_torch(tiny(), tmp_path, LossConfig(), division, batches)


@pytest.mark.parametrize(
    ("loss", "shared"),
    [
        (
            LossConfig(kl=0.1, correction=CorrectionConfig(kind="tis", high=1.5), temperature=0.7),
            {"updates_per_step": 2},
        ),
        pytest.param(
            LossConfig(
                ratio="sequence",
                surrogate="cispo",
                kl=0.1,
                kl_estimator="k2",
                correction=CorrectionConfig(kind="mis"),
            ),
            {"ratio_stop": "micro_batch"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["tis and k3", "sequences, mis and k2"],
)
async def test_reference_and_old_log_probabilities_are_those_of_the_torch_trainer(
    tmp_path: Path, loss: LossConfig, shared: dict[str, Any]
) -> None:
    batches = [some_samples(seed=seed) for seed in range(2)]
    settings = {"recompute_logprobs": True, **shared}
    await follows_torch(tiny(), tmp_path, loss, Division(), batches, **settings)


async def test_log_probabilities_are_those_of_the_model_and_a_killed_rank_is_one_clear_error(
    tmp_path: Path,
) -> None:
    model, samples = tiny(), some_samples()
    async with opened(model, tmp_path, LossConfig()) as trainer:
        found = await trainer.logprobs(samples)
        trainer.processes[0].kill()
        with pytest.raises(TrainError, match="a rank of the trainer ended"):
            await trainer.update(samples)
    for sample, values in zip(samples, found, strict=True):
        ids = torch.as_tensor(sample.ids).long()[None]
        with torch.no_grad():
            logits = model.logits(model.hidden(ids, torch.tensor([len(sample)]))[0])
        every = logits.log_softmax(-1)[:-1].gather(-1, ids[0, 1:, None])[:, 0].numpy()
        trained = np.flatnonzero(sample.weights)
        wanted = np.zeros(len(sample))
        wanted[trained] = every[trained - 1]
        np.testing.assert_allclose(values, wanted, atol=2e-5)


async def test_a_checkpoint_resumes_on_other_ranks_and_in_the_torch_trainer(tmp_path: Path) -> None:
    model, loss, later = tiny(), LossConfig(), some_samples(seed=5)
    async with opened(model, tmp_path / "two", loss, tensor_parallel=2) as trainer:
        await trainer.update(some_samples())
        (tmp_path / "saved").mkdir()
        await trainer.save(tmp_path / "saved")
        wanted = await trainer.update(later)
        # Norms that every rank holds: NeMo-Aligner alone lets those of queries and keys drift.
        assert await trainer.drift() == 0.0
    async with opened(tiny(), tmp_path / "one", loss) as trainer:
        await trainer.load(tmp_path / "saved")
        resumed = await trainer.update(later)
    loaded = load_model(tmp_path / "saved" / "model", "cpu", torch.float32)
    torch_trainer = TorchTrainer(loaded, TorchTrainerConfig(optimizer=OPTIMIZER), loss)
    torch_trainer.load(tmp_path / "saved")
    in_torch = torch_trainer.update(later)
    for metrics in (resumed, in_torch):
        assert metrics.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert metrics.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-5)
        assert metrics.lr == wanted.lr
