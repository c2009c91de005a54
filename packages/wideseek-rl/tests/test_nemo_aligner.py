"""Training by NeMo-Aligner against the torch trainer, on the CPU, in an environment that has it.

Run by `nox -s nemo_aligner`. Each case has real ranks, which talk over gloo; most are forks of one
process, so that NeMo is imported once.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wideseek_core import CheckpointError, TrainError
from wideseek_core.testing.fake_sglang import FakeSglang
from wideseek_core.testing.fake_vllm import FakeVllm
from wideseek_rl.batch.samples import TrainingSample, split_samples
from wideseek_rl.cluster.launcher import Launcher, SlotRequest
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import load_model, save_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.open import open_control
from wideseek_rl.testing import known
from wideseek_rl.trainers.config import LossConfig, OptimizerConfig, TorchTrainerConfig
from wideseek_rl.trainers.megatron.batches import deal, pack
from wideseek_rl.trainers.megatron.client import NemoAlignerTrainer, open_nemo_aligner
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.objectives.config import CorrectionConfig
from wideseek_rl.trainers.protocol import NO_UPDATE, UpdateMetrics, measured
from wideseek_rl.trainers.remote.client import Processes, RemoteTransport
from wideseek_rl.trainers.remote.requests import Route
from wideseek_rl.trainers.torch import TorchTrainer

from .forked_ranks import NEMO, ForkedLauncher

pytestmark = pytest.mark.nemo_aligner

OPTIMIZER = OptimizerConfig(lr=1e-2, grad_clip=0.5, warmup_updates=2, eps=1e-5)
PLAIN = LossConfig()

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
    model, generator = new_model(config, 0), torch.Generator().manual_seed(0)
    with torch.no_grad():  # vectors that start at 0 or 1 would hide that two are exchanged
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
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


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Generator[ForkedLauncher]:
    with ForkedLauncher(tmp_path_factory.mktemp("logs"), NEMO) as launcher:
        yield launcher


@asynccontextmanager
async def opened(
    model: Decoder, folder: Path, launcher: Launcher, loss: LossConfig = PLAIN, **settings: Any
) -> AsyncGenerator[NemoAlignerTrainer]:
    """Ranks that hold a copy of the model."""
    save_model(model, folder / "start", None)
    given: dict[str, Any] = {"max_batch_tokens": 64, "optimizer": OPTIMIZER, **settings}
    config = NemoAlignerConfig(**given)
    copy = PolicyModel(ModelConfig(model=str(folder / "start"), device="cpu"))
    async with open_nemo_aligner(config, loss, copy, Processes(launcher=launcher)) as trainer:
        yield trainer


async def weights_of(trainer: NemoAlignerTrainer) -> dict[str, NDArray[Any]]:
    tensors = await asyncio.to_thread(lambda: dict(trainer.weights.tensors()))
    infos = [(info.name, info.shape) for info in trainer.weights.metadata()]
    assert infos == [(name, tuple(tensor.shape)) for name, tensor in tensors.items()]
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def relative_change(
    found: dict[str, NDArray[Any]], model: Decoder, start: dict[str, NDArray[Any]]
) -> float:
    """How far the change of all weights is from that of a model, in units of the latter."""
    wanted = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert found.keys() == wanted.keys()
    distance = sum(float(((found[n] - wanted[n]) ** 2).sum()) for n in wanted)
    change = sum(float(((wanted[n] - start[n]) ** 2).sum()) for n in wanted)
    return (distance / change) ** 0.5


def assert_same(found: UpdateMetrics, wanted: UpdateMetrics) -> None:
    """Asserts that the same was measured, and what is not about how samples are divided equals."""
    assert measured(found).keys() - {"drift"} == measured(wanted).keys()
    for name, value in measured(wanted).items():
        if name not in ("seconds", "micro_batches", "tokens_run", "changed"):
            close = pytest.approx(value, rel=1e-5, abs=1e-6)
            assert getattr(found, name) == close, name
    assert found.changed == pytest.approx(wanted.changed, abs=0.05)
    assert known(found.mismatch) > 0.1


def passes(samples: Sequence[TrainingSample], **settings: int) -> tuple[int, int]:
    """Micro-batches of one update on all data-parallel ranks, and their tokens with padding."""
    lengths, multiple = [len(sample) for sample in samples], settings.get("tensor_parallel", 1)
    packed = [
        sum(lengths[at] for at in chosen)
        for dealt in deal(lengths, settings.get("data_parallel", 1))
        for chosen in pack(lengths, dealt, 64) or [[]]
    ]
    return len(packed), sum(max(-(-tokens // multiple), 1) * multiple for tokens in packed)


async def follows_torch(
    model: Decoder,
    folder: Path,
    launcher: Launcher,
    batches: Sequence[Sequence[TrainingSample]],
    loss: LossConfig = PLAIN,
    *,
    division: dict[str, Any],
    **shared: Any,
) -> None:
    """Asserts that updates by the ranks have the loss, the gradient and the effect of torch's."""
    start = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    several = any(division.get(f"{how}_parallel", 1) > 1 for how in ("tensor", "pipeline", "data"))
    drift = 0.0 if several else None  # one rank holds no copies
    async with opened(model, folder, launcher, loss, **division, **shared) as trainer:
        settings = TorchTrainerConfig(optimizer=OPTIMIZER, share_prefixes=False, **shared)
        torch_trainer = TorchTrainer(model, settings, loss)
        for number, samples in enumerate(batches):
            wanted, found = torch_trainer.update(samples), await trainer.update(samples)
            assert (found.lr, found.drift) == (wanted.lr, drift)
            assert (found.updates, found.tokens_trained) == (wanted.updates, wanted.tokens_trained)
            if number < 3:  # Adam makes much of small differences, and clipping is a step.
                assert_same(found, wanted)
        assert relative_change(await weights_of(trainer), model, start) < 1e-3
        assert await trainer.drift() == drift


@pytest.mark.parametrize("family", FAMILIES)
async def test_updates_of_each_family_are_those_of_the_torch_trainer(
    family: str, tmp_path: Path, forks: ForkedLauncher
) -> None:
    batches = [some_samples(seed=seed) for seed in range(20 if family == "qwen3" else 3)]
    model = tiny(**FAMILIES[family])
    await follows_torch(model, tmp_path, forks, batches, division={"tensor_parallel": 2})


async def saved_after_a_failure(
    trainer: NemoAlignerTrainer,
    failing: list[TrainingSample],
    folder: Path,
    error: str,
    *,
    tries: int,
) -> None:
    """Asserts that an update fails, and that the weights before it are saved and train on."""
    await trainer.update(some_samples())
    before = await weights_of(trainer)
    for _ in range(tries - 1):
        assert (await trainer.update(failing)).skipped == 1
    with pytest.raises(TrainError, match=error):
        await trainer.update(failing)
    assert trainer.intact
    await trainer.save(folder)
    saved = load_model(folder / "model", "cpu", torch.float32)
    for name, parameter in saved.named_parameters():
        np.testing.assert_array_equal(before[name], parameter.detach().numpy())
    assert (await trainer.update(some_samples(seed=1))).updates == 1


async def test_an_update_that_fails_leaves_the_only_rank_as_it_was(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    wrong: Any = (None,)
    odd = [replace(one, turn_starts=wrong) for one in some_samples()]
    async with opened(tiny(), tmp_path, forks) as trainer:
        await saved_after_a_failure(
            trainer, odd, tmp_path, "^an update failed: TypeError: ", tries=1
        )


async def test_ranks_that_refuse_an_update_alike_are_as_they_were(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    huge = [
        replace(one, weights=np.where(one.weights > 0, np.float32(3e38), np.float32(0)))
        for one in some_samples()
    ]
    huge = [replace(one, advantages=np.full(len(one), 3e38, np.float32)) for one in huge]
    async with opened(tiny(), tmp_path, forks, data_parallel=2) as trainer:
        await saved_after_a_failure(trainer, huge, tmp_path, "not finite 3 times", tries=3)


DIVISIONS: dict[str, dict[str, Any]] = {
    "one": {"max_batch_tokens": 1000, "attention": "documents", "recompute": "core_attn"},
    "sequence": {"tensor_parallel": 2, "sequence_parallel": True},
    "data": {"data_parallel": 2},
    "divided": {"data_parallel": 2, "distributed_optimizer": True},
    "tensor and divided": {
        "tensor_parallel": 2,
        "data_parallel": 2,
        "distributed_optimizer": True,
        "sequence_parallel": True,
    },
    "pipeline": {"pipeline_parallel": 2},
    "pipeline and tensor": {"pipeline_parallel": 2, "tensor_parallel": 2},
    "pipeline and divided": {
        "pipeline_parallel": 2,
        "data_parallel": 2,
        "distributed_optimizer": True,
    },
}


@pytest.mark.parametrize("name", DIVISIONS)
async def test_updates_do_not_depend_on_the_division_among_ranks(
    name: str, tmp_path: Path, forks: ForkedLauncher
) -> None:
    # One sample: a data-parallel rank has nothing to do and must still join in.
    batches = [some_samples(), some_samples(1, seed=1), some_samples(seed=2)]
    await follows_torch(tiny(), tmp_path, forks, batches, division=DIVISIONS[name])


@pytest.mark.parametrize(("count", "max_tokens"), [(1, 1000), (2, 100), (4, 50)])
async def test_updates_do_not_depend_on_the_number_of_micro_batches(
    count: int, max_tokens: int, tmp_path: Path, forks: ForkedLauncher
) -> None:
    batches = [some_samples(seed=1)]
    lengths = [len(sample) for sample in batches[0]]
    assert len(pack(lengths, deal(lengths, 1)[0], max_tokens)) == count
    division = {"max_batch_tokens": max_tokens}
    await follows_torch(tiny(), tmp_path, forks, batches, division=division)


async def test_what_is_computed_again_changes_nothing_in_half_precision(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    """Layers are computed again outside of the schedule's arithmetic, and must not leave theirs."""
    shared = {"precision": "bfloat16", "tensor_parallel": 2, "sequence_parallel": True}
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "attention": {"recompute": "core_attn"},
        "feed-forward": {"recompute": "mlp", "recompute_layers": 1},
        "one layer": {"recompute": "full", "recompute_layers": 1},
    }
    exact = TorchTrainer(tiny(), TorchTrainerConfig(optimizer=OPTIMIZER), PLAIN)
    wanted, found = exact.update(some_samples()), dict[str, UpdateMetrics]()
    for name, kind in kinds.items():
        async with opened(tiny(), tmp_path / name, forks, **shared, **kind) as trainer:
            found[name] = await trainer.update(some_samples())
            assert await trainer.drift() == 0.0
    for name, metrics in found.items():
        assert metrics.loss == found["none"].loss, name
        assert metrics.grad_norm == pytest.approx(found["none"].grad_norm, rel=1e-6), name
        assert metrics.grad_norm != wanted.grad_norm  # it is bfloat16
        assert metrics.loss == pytest.approx(wanted.loss, rel=0.05, abs=1e-3)
        assert metrics.grad_norm == pytest.approx(wanted.grad_norm, rel=0.05)


async def test_untied_output_weights_of_the_last_stage_are_trained(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    model, batches = tiny(**FAMILIES["llama"]), [some_samples(seed=seed) for seed in range(2)]
    division = {"pipeline_parallel": 2, "distributed_optimizer": True}
    await follows_torch(model, tmp_path, forks, batches, division=division)


async def test_ranks_of_several_hosts_meet_at_the_first_one(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    forks.hosts = ("127.0.0.1", "127.0.0.2")
    try:
        division = {"data_parallel": 2, "tensor_parallel": 2}
        await follows_torch(tiny(), tmp_path, forks, [some_samples()], division=division)
    finally:
        forks.hosts = forks.hosts[:1]


async def test_samples_with_equal_prompts_are_no_group(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    """NeMo-Aligner takes a baseline over equal prompts; turns of one rollout may have the same."""
    samples = some_samples()
    shortest = min(map(len, samples)) // 2
    for sample in samples:
        sample.ids[:shortest] = samples[0].ids[:shortest]
    await follows_torch(tiny(), tmp_path, forks, [samples], division={})


CALLS = {
    "chunk": "reinforce.ReinforceRolloutBatch().chunk(rank=0, split_size=2, seed=0)",
    "baseline": "reinforce.calculate_rloo_baseline(prompts=None, reward=None, mask=None)",
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_wrong_in_nemo_aligner_can_not_be_called(
    name: str, forks: ForkedLauncher
) -> None:
    code = f"from nemo_aligner.algorithms import reinforce; {CALLS[name]}"
    async with forks.slots(SlotRequest(role=f"call-{name}")) as (slot,):
        child = await slot.start((sys.executable, "-c", code))
        assert await child.wait() == 1
    assert "wrong in this release and must not be called" in slot.log.read_text()


def sampled_elsewhere() -> list[TrainingSample]:
    """Samples whose sampler differs from the model, each by itself; some that are left out."""
    rng = np.random.default_rng(5)
    samples = [
        replace(one, logprobs=(one.logprobs + rng.normal(0, 0.5, len(one))).astype(np.float32))
        for one in some_samples(9, seed=3)
    ]
    samples[0].logprobs[-1] = -30.0  # a token whose ratio is out of bounds
    samples[1].logprobs[-1] = np.nan
    samples[2].advantages[:] = 0
    return samples


METRICS: dict[str, tuple[LossConfig, dict[str, int], dict[str, Any]]] = {
    "sampler's": (PLAIN, {}, {}),
    "data": (PLAIN, {"data_parallel": 2, "updates_per_step": 2}, {}),
    "recomputed": (
        LossConfig(kl=0.1, correction=CorrectionConfig(kind="tis", high=1.5)),
        {"tensor_parallel": 2, "updates_per_step": 2},
        {"recompute_logprobs": True},
    ),
    "sequences": (
        LossConfig(ratio="sequence"),
        {"pipeline_parallel": 2, "data_parallel": 2},
        {"recompute_logprobs": True, "distributed_optimizer": True},
    ),
}


@pytest.mark.parametrize("name", METRICS)
async def test_the_metrics_of_an_update_are_those_of_the_torch_trainer(
    name: str, tmp_path: Path, forks: ForkedLauncher
) -> None:
    loss, counts, settings = METRICS[name]
    samples = sampled_elsewhere()
    async with opened(tiny(), tmp_path, forks, loss, **counts, **settings) as trainer:
        found, nothing = await trainer.update(samples), await trainer.update(samples[2:3])
    updates = counts.get("updates_per_step", 1)
    config = TorchTrainerConfig(
        optimizer=OPTIMIZER,
        updates_per_step=updates,
        recompute_logprobs=settings.get("recompute_logprobs", False),
    )
    assert_same(found, TorchTrainer(tiny(), config, loss).update(samples))
    assert (found.updates, found.masked_samples) == (updates, 1)
    live = [sample for at, sample in enumerate(samples) if at != 1 and (at != 2 or loss.kl)]
    ran = [passes(part, **counts) for part in split_samples(live, updates)]
    assert (found.micro_batches, found.tokens_run) == tuple(map(sum, zip(*ran, strict=True)))
    if not loss.kl:
        assert nothing == replace(NO_UPDATE, zero_advantage_samples=1, seconds=nothing.seconds)


async def test_an_update_that_is_given_up_has_the_metrics_of_what_ran(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    samples = [replace(one, logprobs=one.logprobs - 4) for one in some_samples()]
    async with opened(tiny(), tmp_path, forks, updates_per_step=2) as trainer:
        found = await trainer.update(samples)
    config = TorchTrainerConfig(optimizer=OPTIMIZER, updates_per_step=2)
    assert_same(found, TorchTrainer(tiny(), config, PLAIN).update(samples))
    assert (found.updates, found.stopped, found.grad_norm, found.changed) == (0, 1, None, None)
    first = next(iter(split_samples(samples, 2)))
    assert (found.micro_batches, found.tokens_run) == passes(first)


@pytest.mark.parametrize("divided", [False, True])
async def test_an_update_that_rounds_away_changes_little(
    divided: bool, tmp_path: Path, forks: ForkedLauncher
) -> None:
    settings: dict[str, Any] = {"data_parallel": 2, "distributed_optimizer": divided}
    small = OptimizerConfig(lr=1e-12, eps=1e-8, weight_decay=0)
    async with opened(tiny(), tmp_path, forks, optimizer=small, **settings) as trainer:
        assert known((await trainer.update(some_samples())).changed) < 0.2


@pytest.mark.parametrize(
    ("loss", "shared", "division"),
    [
        (
            LossConfig(kl=0.1, correction=CorrectionConfig(kind="tis", high=1.5), temperature=0.7),
            {"updates_per_step": 2},
            {},
        ),
        (
            LossConfig(
                ratio="sequence",
                surrogate="cispo",
                kl=0.1,
                kl_estimator="k2",
                correction=CorrectionConfig(kind="mis"),
            ),
            {"ratio_stop": "micro_batch"},
            {"pipeline_parallel": 2, "distributed_optimizer": True},
        ),
    ],
    ids=["tis and k3", "sequences, mis and k2"],
)
async def test_reference_and_old_log_probabilities_are_those_of_the_torch_trainer(
    tmp_path: Path,
    loss: LossConfig,
    shared: dict[str, Any],
    division: dict[str, Any],
    forks: ForkedLauncher,
) -> None:
    batches = [some_samples(seed=seed) for seed in range(2)]
    settings = {"recompute_logprobs": True, **shared}
    await follows_torch(tiny(), tmp_path, forks, batches, loss, division=division, **settings)


async def test_log_probabilities_are_those_of_the_model_and_a_killed_rank_is_one_clear_error(
    tmp_path: Path,
) -> None:
    """With ranks that are started as in a run."""
    model, samples = tiny(), some_samples()
    async with opened(model, tmp_path, LocalLauncher(tmp_path / "logs")) as trainer:
        found = await trainer.logprobs(samples)
        trainer.group.children[0].kill()
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


@pytest.mark.parametrize(
    ("saving", "loading"),
    [
        ({"tensor_parallel": 2}, {}),
        ({"pipeline_parallel": 2}, {"tensor_parallel": 2, "distributed_optimizer": True}),
        ({"data_parallel": 2, "distributed_optimizer": True}, {"pipeline_parallel": 2}),
    ],
    ids=["tensor to one", "pipeline to divided", "divided to pipeline"],
)
async def test_a_checkpoint_resumes_on_other_ranks_and_in_the_torch_trainer(
    saving: dict[str, Any], loading: dict[str, Any], tmp_path: Path, forks: ForkedLauncher
) -> None:
    model, later = tiny(), some_samples(seed=5)
    async with opened(model, tmp_path / "first", forks, **saving) as trainer:
        await trainer.update(some_samples())
        (tmp_path / "saved").mkdir()
        await trainer.save(tmp_path / "saved")
        saved = await weights_of(trainer)
        wanted = await trainer.update(later)
    async with opened(tiny(), tmp_path / "second", forks, **loading) as trainer:
        await trainer.load(tmp_path / "saved")
        loaded = await weights_of(trainer)
        resumed = await trainer.update(later)
    assert all(np.array_equal(loaded[name], saved[name]) for name in saved)
    in_torch = TorchTrainer(
        load_model(tmp_path / "saved" / "model", "cpu", torch.float32),
        TorchTrainerConfig(optimizer=OPTIMIZER),
        PLAIN,
    )
    in_torch.load(tmp_path / "saved")
    for metrics in (resumed, in_torch.update(later)):
        assert metrics.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert metrics.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-5)
        assert metrics.lr == wanted.lr


async def test_a_damaged_optimizer_file_is_refused_and_no_lost_rank(
    tmp_path: Path, forks: ForkedLauncher
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    async with opened(tiny(), tmp_path / "first", forks) as trainer:
        await trainer.save(saved)
        file = saved / "optimizer.safetensors"
        file.write_bytes(file.read_bytes()[:20])
        with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: not a whole"):
            await trainer.load(saved)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_ranks_send_their_weights_straight_to_servers(
    kind: Literal["vllm", "sglang"], tmp_path: Path, forks: ForkedLauncher
) -> None:
    server = FakeVllm() if kind == "vllm" else FakeSglang()
    division: dict[str, Any] = {"tensor_parallel": 2, "pipeline_parallel": 2}
    async with server.serving(), opened(tiny(), tmp_path, forks, **division) as trainer:
        route = Route(kind=kind, sync=SyncConfig(), control=ControlConfig(), dtype="bfloat16")
        transport = RemoteTransport(trainer.group, route)
        control = open_control(kind, server.url, ControlConfig())
        assert await transport.connect([control]) == {}
        for version in (1, 2):
            await trainer.update(some_samples(seed=version))
            assert await transport.send([control], version) == {}
            await check_sent(server, transport, trainer)
        assert server.engine.label == "2"
        server.corrupt = True
        assert await transport.send([control], 3) == {}
        with pytest.raises(AssertionError):
            await check_sent(server, transport, trainer)


async def check_sent(
    server: FakeVllm | FakeSglang, transport: RemoteTransport, trainer: NemoAlignerTrainer
) -> None:
    """Asserts that a server has the weights of the ranks.

    By checksums where these are known without the server's own code.
    """
    if isinstance(server, FakeVllm):
        control = open_control("vllm", server.url, ControlConfig())
        reported = {server.url: await control.checksums()}
        await transport.prepare(reported[server.url].algorithm)
        assert await transport.compare(reported) == {}
    held = server.engine.weights
    weights = await weights_of(trainer)
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= held.keys()
    for name in weights.keys() & held.keys():  # servers hold some projections joined
        rounded = torch.as_tensor(weights[name]).bfloat16().contiguous()
        assert held[name] == rounded.view(torch.uint8).numpy().tobytes(), name
