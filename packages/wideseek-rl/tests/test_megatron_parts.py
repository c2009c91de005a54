"""Layouts, batches and log-probabilities of the trainer on NeMo-Aligner: all but NeMo itself."""

from collections.abc import Generator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import ConfigError
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.decoder import new_model
from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.head import HeadOptions
from wideseek_rl.trainers.loss import LossOutputs
from wideseek_rl.trainers.megatron.attention import PackedCoreAttention
from wideseek_rl.trainers.megatron.batches import collate, cost, deal, pack
from wideseek_rl.trainers.megatron.client import NemoAlignerTrainer
from wideseek_rl.trainers.megatron.config import (
    AttentionKernel,
    NemoAlignerConfig,
    check_model,
)
from wideseek_rl.trainers.megatron.kernels import rms_norm
from wideseek_rl.trainers.megatron.layout import entries, join, part, shard, unshard
from wideseek_rl.trainers.megatron.vocabulary import Head, vocabulary_logprobs, vocabulary_loss
from wideseek_rl.trainers.protocol import measured
from wideseek_rl.trainers.remote.group import RankGroup
from wideseek_rl.trainers.remote.requests import Described, Drift, Metrics, Update

SHAPE = DecoderConfig(
    vocab_size=301, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_size=96
)
FAMILIES = {
    "tied": SHAPE,
    "untied": DecoderConfig(
        vocab_size=301, hidden_size=32, layers=1, heads=4, kv_heads=4, head_dim=8, ffn_size=64,
        tied_embeddings=False, qk_norm=False, family="llama",
    ),
    "biases": DecoderConfig(
        vocab_size=300, hidden_size=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn_size=64,
        qk_norm=False, qkv_bias=True, family="qwen2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_weights_survive_the_way_to_megatron_and_back(family: str, ranks: int) -> None:
    model = new_model(FAMILIES[family], 0)
    theirs = {name: tensor.clone() for name, tensor in model.named_parameters()}
    back: dict[str, torch.Tensor] = {}
    for entry in entries(FAMILIES[family]):
        whole = join(entry, [theirs[name] for name in entry.parts], FAMILIES[family])
        shards = [shard(entry, whole, rank, ranks) for rank in range(ranks)]
        assert len({shard.shape for shard in shards}) == 1
        back |= part(entry, unshard(entry, shards), FAMILIES[family])
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_stages_hold_equally_many_layers_and_the_last_one_a_copy_of_the_tied_embedding() -> None:
    found = list(entries(SHAPE, 2))
    assert {entry.stage for entry in found} == {0, 1}
    layers = [
        [e.name for e in found if e.stage == stage and "layers" in e.name] for stage in (0, 1)
    ]
    assert layers[0] == layers[1]  # each stage numbers its own
    assert all("model.layers.1." in p for e in found[1:-2] if e.stage for p in e.parts)
    embedding, *_, norm, output = found
    assert (embedding.stage, norm.stage, output.stage) == (0, 1, 1)
    assert output.parts == embedding.parts
    assert [entry for entry in found if entry.copied] == [output]
    assert not any(entry.copied for entry in entries(SHAPE))


def test_queries_keys_and_values_are_joined_group_by_group() -> None:
    shape = DecoderConfig(
        vocab_size=8, hidden_size=4, layers=1, heads=4, kv_heads=2, head_dim=2, ffn_size=4
    )
    entry = next(e for e in entries(shape) if e.name.endswith("linear_qkv.weight"))
    names = {"q": 8, "k": 4, "v": 4}
    rows = [torch.arange(n)[:, None] + 100 * at for at, n in enumerate(names.values())]
    joined = listed(join(entry, rows, shape)[:, 0])
    assert joined == [0, 1, 2, 3, 100, 101, 200, 201, 4, 5, 6, 7, 102, 103, 202, 203]


class Answering:
    """Ranks that say what they measured, and whose weights have drifted apart."""

    def __init__(self, drift: float | None = 0.5, **values: float) -> None:
        self.answer = Metrics(values=values)
        self.drift = {} if drift is None else {"drift": drift}
        self.updates: list[Update] = []

    async def ask(self, request: Update | Drift, kind: type[Metrics]) -> Metrics:
        assert kind is Metrics
        if isinstance(request, Drift):
            return Metrics(values=self.drift)
        self.updates.append(request)
        return self.answer


def two_tokens(logprob: float, advantage: float) -> TrainingSample:
    return TrainingSample(
        ids=np.array([1, 2, 3], np.int32),
        weights=np.array([0, 1, 1], np.float32),
        advantages=np.full(3, advantage, np.float32),
        logprobs=np.full(3, logprob, np.float32),
    )


async def test_the_client_adds_what_it_left_out_and_makes_nothing_up() -> None:
    ranks = Answering(updates=1, samples=1, masked_tokens=1, tokens_run=4)
    described = Described(tensors=[])
    trainer = NemoAlignerTrainer(cast(RankGroup, ranks), described, LossConfig(), vocabulary=9)
    given = [two_tokens(-1.0, 1.0), two_tokens(np.nan, 1.0), two_tokens(-1.0, 0.0)]
    found = await trainer.update(given)
    assert [one.samples for one in ranks.updates] == [given[:1]]
    wanted = {"updates": 1, "samples": 1, "tokens_run": 4, "zero_advantage_samples": 1}
    wanted |= {"masked_tokens": 1 + 2, "masked_samples": 1, "drift": 0.5}
    assert {k: v for k, v in measured(found).items() if k != "seconds"} == wanted
    assert (found.mismatch, found.changed, found.micro_batches) == (None, None, None)
    nothing = await trainer.update(given[2:])
    assert len(ranks.updates) == 1
    assert (nothing.zero_advantage_samples, nothing.samples, nothing.drift) == (1, 0, None)


async def test_one_rank_holds_no_copies_that_could_differ() -> None:
    ranks = Answering(drift=None, updates=1, samples=1)
    described = Described(tensors=[])
    trainer = NemoAlignerTrainer(cast(RankGroup, ranks), described, LossConfig(), vocabulary=9)
    found = await trainer.update([two_tokens(-1.0, 1.0)])
    assert found.drift is None
    assert "drift" not in measured(found)


@given(
    st.lists(st.integers(1, 5000), max_size=40),
    st.integers(1, 8),
)
def test_documents_are_dealt_once_and_about_evenly(lengths: list[int], ranks: int) -> None:
    dealt = deal(lengths, ranks)
    assert sorted(index for chosen in dealt for index in chosen) == list(range(len(lengths)))
    loads = [sum(cost(lengths[index]) for index in chosen) for chosen in dealt]
    assert max(loads) - min(loads) <= max(map(cost, lengths), default=0.0)


def test_micro_batches_keep_within_their_tokens_or_hold_one_document() -> None:
    assert pack([40, 30, 20, 90, 10], [0, 1, 2, 3, 4], 64) == [[0], [1, 2], [3], [4]]
    assert pack([40, 20], [1, 0], 64) == [[1, 0]]


def listed(values: torch.Tensor) -> list[float]:
    return [value.item() for value in values.flatten()]


def sample(ids: list[int], trained: list[int]) -> TrainingSample:
    weights = np.zeros(len(ids), np.float32)
    weights[trained] = 0.5
    values = np.arange(len(ids), dtype=np.float32)
    return TrainingSample(
        ids=np.array(ids, np.int32), weights=weights, advantages=values, logprobs=-values
    )


def test_a_packed_batch_by_hand() -> None:
    samples = [sample([7, 8, 9], [2]), sample([1, 2, 3, 4], [1, 3])]
    batch = collate(samples, [1, 0], multiple=4, device=torch.device("cpu"))
    assert listed(batch.ids) == [1, 2, 3, 4, 7, 8, 9, 0]
    assert listed(batch.positions) == [0, 1, 2, 3, 0, 1, 2, 0]
    assert listed(batch.ends) == [0, 4, 7, 8]
    assert listed(batch.places) == [0, 2, 5]
    assert listed(batch.targets) == [2, 4, 9]
    assert listed(batch.advantages) == [1, 3, 2]
    assert listed(batch.logprobs) == [-1, -3, -2]


def test_a_rank_without_documents_gets_padding_alone() -> None:
    batch = collate([], [], multiple=2, device=torch.device("cpu"))
    assert (listed(batch.ids), listed(batch.ends)) == ([0, 0], [0, 2])
    assert batch.targets.numel() == 0


@pytest.mark.parametrize("kernel", ["varlen", "documents"])
def test_attention_is_causal_within_each_document(kernel: AttentionKernel) -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    ends = torch.tensor([0, 3, 8], dtype=torch.int32)
    q, k, v = (torch.randn(8, 1, heads, 16) for heads in (4, 2, 2))
    attention = PackedCoreAttention(None, 1)
    attention.kernel = kernel
    found = attention(q, k, v, ends)
    for head in range(4):
        for at in range(8):
            first = 0 if at < 3 else 3
            scores = q[at, 0, head] @ k[first : at + 1, 0, head // 2].T / 4
            wanted = scores.softmax(-1) @ v[first : at + 1, 0, head // 2]
            assert torch.allclose(found[at, 0, head * 16 : head * 16 + 16], wanted, atol=1e-5)


@pytest.fixture
def group(tmp_path: Path) -> Generator[None]:
    """A process group of this process alone."""
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_log_probabilities_entropy_and_gradient_leave_the_padding_out() -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    hidden, weight = torch.randn(5, 8, requires_grad=True), torch.randn(10, 8, requires_grad=True)
    targets, slope = torch.tensor([0, 8, 3, 3, 7]), torch.randn(5)
    options = HeadOptions(temperature=0.7, max_logits=20)  # two tokens at a time
    head = Head(vocabulary=9, rank=0, group=dist.group.WORLD, options=options)
    found, entropy = vocabulary_logprobs(hidden, weight, targets, head)
    every = (hidden @ weight[:9].T / 0.7).log_softmax(-1)
    wanted = every.gather(-1, targets[:, None])[:, 0]
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(entropy, -(every.exp() * every).sum(-1), atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad((found * slope).sum(), (hidden, weight)),
        torch.autograd.grad((wanted * slope).sum(), (hidden, weight)),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.usefixtures("group")
def test_a_loss_made_with_its_gradient_is_that_of_the_log_probabilities() -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    hidden, weight = torch.randn(5, 8, requires_grad=True), torch.randn(10, 8, requires_grad=True)
    targets, slope = torch.tensor([0, 8, 3, 3, 7]), torch.randn(5)
    head = Head(vocabulary=9, rank=0, group=dist.group.WORLD, options=HeadOptions(max_logits=20))

    def loss(logprobs: torch.Tensor, entropies: torch.Tensor, span: slice) -> LossOutputs:
        total = (logprobs.exp() * slope[span]).sum()
        return LossOutputs(loss=total, sums=torch.stack([entropies.sum(), logprobs.sum()]))

    found = vocabulary_loss(hidden, weight, targets, head, loss)
    logprobs, entropies = vocabulary_logprobs(hidden, weight, targets, head)
    wanted = loss(logprobs, entropies, slice(None))
    assert torch.allclose(found.loss, wanted.loss, atol=1e-6)
    assert torch.allclose(found.sums, wanted.sums, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(found.loss * 3, (hidden, weight)),
        torch.autograd.grad(wanted.loss * 3, (hidden, weight)),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 1, 16), (6, 1, 3, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_are_those_of_torch_rounded_once(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    states, weight = torch.randn(shape).to(dtype), torch.randn(16)
    wanted = torch.nn.functional.rms_norm(states.float(), (16,), weight, 1e-6)
    found = rms_norm(states, weight, 1e-6)
    assert found.dtype == dtype
    assert torch.allclose(
        found.float(), wanted.to(dtype).float(), rtol=1e-6 if dtype.itemsize == 4 else 8e-3
    )


@pytest.mark.parametrize(
    ("shape", "settings", "problem"),
    [
        (SHAPE, {"tensor_parallel": 4}, "tensor_parallel=4 does not divide 2 key-value heads"),
        (SHAPE, {"sequence_parallel": True}, "sequence_parallel needs trainer.tensor_parallel"),
        (SHAPE, {"pipeline_parallel": 4}, "pipeline_parallel=4 does not divide 2 layers"),
        (FAMILIES["untied"], {"tensor_parallel": 3}, "tensor_parallel=3 does not divide 4 heads"),
        (
            DecoderConfig(
                vocab_size=8, hidden_size=4, layers=1, heads=2, kv_heads=2, head_dim=2, ffn_size=4,
                rope=RopeConfig(kind="yarn"),
            ),
            {},
            "can't train a model with YaRN",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_clear_error(
    shape: DecoderConfig, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_model(shape, NemoAlignerConfig.model_validate(settings), LossConfig())
