"""Attention of packed documents one by one equals that of each document alone."""

from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wideseek_rl import OptimizerConfig, TorchTrainerConfig, TrainingSample
from wideseek_rl.batch.packing import MIN_BOUNDS, collate
from wideseek_rl.batch.prefix_tree import build_prefix_trees, single
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.documents import STEP, Documents, documents_attention, one_by_one_pays
from wideseek_rl.testing import tiny_model
from wideseek_rl.trainers.torch import TorchTrainer

HEADS, SHARED, SIZE = 4, 2, 16


def heads(count: int, length: int, seed: int) -> Tensor:
    """Heads beside each other in memory, as a layer has them."""
    made = torch.randn(1, length, count, SIZE, generator=torch.Generator().manual_seed(seed))
    return made.transpose(1, 2).requires_grad_()


def alone(q: Tensor, k: Tensor, v: Tensor, spans: list[tuple[int, int]]) -> Tensor:
    """Each document by itself, 0 elsewhere."""
    result = torch.zeros_like(q)
    for first, last in spans:
        part = slice(first, last)
        result = result.clone()
        result[:, :, part] = F.scaled_dot_product_attention(
            q[:, :, part], k[:, :, part], v[:, :, part], is_causal=True, enable_gqa=True
        )
    return result


def padded(spans: list[tuple[int, int]]) -> Documents:
    bounds = torch.zeros(8, 2, dtype=torch.long)
    bounds[: len(spans)] = torch.tensor(spans)
    return Documents(bounds=bounds)


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (300, [(0, 300)]),
        (STEP, [(0, STEP)]),
        (700, [(0, 1), (1, STEP + 1), (STEP + 1, 700)]),
        (700, [(0, 90), (90, 91), (91, 350), (350, 600)]),
        (40, [(0, 7), (7, 20), (20, 40)]),
        (600, [(5, 100), (110, 500)]),
    ],
)
def test_documents_see_themselves_alone(length: int, spans: list[tuple[int, int]]) -> None:
    q, k, v = heads(HEADS, length, 0), heads(SHARED, length, 1), heads(SHARED, length, 2)
    found = documents_attention(q, k, v, padded(spans))
    wanted = alone(q, k, v, spans)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    # What is outside of documents has a gradient too, which must reach nothing.
    factor = torch.randn(found.shape, generator=torch.Generator().manual_seed(3))
    gradients = torch.autograd.grad((found * factor).sum(), (q, k, v))
    expected = torch.autograd.grad((wanted * factor).sum(), (q, k, v))
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-5)


def test_tokens_beyond_a_document_add_nothing_however_large_their_scores_are() -> None:
    q, k, v = heads(HEADS, 300, 0), heads(SHARED, 300, 1), heads(SHARED, 300, 2)
    spans = [(0, 100), (100, 300)]
    found = torch.autograd.grad(documents_attention(q * 60, k, v, padded(spans)).sum(), (q, k, v))
    wanted = torch.autograd.grad(alone(q * 60, k, v, spans).sum(), (q, k, v))
    torch.testing.assert_close(found, wanted, atol=1e-2, rtol=1e-3)


def test_it_computes_in_the_precision_of_the_values() -> None:
    q, k, v = heads(HEADS, 20, 0), heads(SHARED, 20, 1), heads(SHARED, 20, 2)
    spans = [(0, 9), (9, 20)]
    found = documents_attention(q, k, v.bfloat16(), padded(spans))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), alone(q, k, v, spans), atol=0.05, rtol=0.05)


def test_the_operator_keeps_what_torch_asks_of_one() -> None:
    q, k, v = heads(HEADS, 20, 0), heads(SHARED, 20, 1), heads(SHARED, 20, 2)
    bounds = padded([(0, 9), (9, 20)]).bounds
    operator: Any = torch.ops.wideseek.documents_attention.default
    check: Any = cast(Any, torch.library).opcheck
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    check(operator, (q, k, v, bounds, 0.25), test_utils=tests)


def samples(shared: int = 0) -> list[TrainingSample]:
    rng = np.random.default_rng(0)
    start = rng.integers(3, 16, shared)
    found: list[TrainingSample] = []
    for length in (30, 17, 25, 9):
        ids = np.concatenate((start, rng.integers(3, 16, length))).astype(np.int32)
        weights = np.full(len(ids), 0.02, dtype=np.float32)
        weights[: shared + 1] = 0
        found.append(
            TrainingSample(
                ids=ids,
                weights=weights,
                advantages=np.full(len(ids), rng.normal(), dtype=np.float32),
                logprobs=np.full(len(ids), -2.8, dtype=np.float32),
            )
        )
    return found


def gradient(samples: list[TrainingSample], **settings: Any) -> Tensor:
    model: Decoder = tiny_model()
    config = TorchTrainerConfig.model_validate(
        {"optimizer": OptimizerConfig(grad_clip=1e9), **settings}
    )
    TorchTrainer(model, config).update(samples)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("shared", [0, 20])
@pytest.mark.parametrize("recompute", ["none", "mlp", "layer"])
def test_the_gradient_is_that_of_rows(shared: int, recompute: str) -> None:
    found = gradient(samples(shared), attention="documents", recompute=recompute)
    wanted = gradient(samples(shared), share_prefixes=False, max_batch_tokens=60)
    error = (found - wanted).square().sum() / wanted.square().sum()
    assert float(error) < 1e-10


def test_samples_that_share_a_beginning_are_left_to_masks() -> None:
    def layout(shared: int) -> Documents | None:
        trees = build_prefix_trees(samples(shared), 1000)
        found = collate(trees, packed=True, one_by_one=True).layout
        assert found is not None
        return found.documents

    assert layout(20) is None
    plain = layout(0)
    assert plain is not None
    bounds = cast(list[tuple[int, int]], cast(Any, plain.bounds[:4]).tolist())
    assert [first for first, _ in bounds] == [0, *(last for _, last in bounds[:-1])]
    assert sorted(last - first for first, last in bounds) == [9, 17, 25, 30]


@pytest.mark.parametrize(
    ("device", "dtype", "head", "pays"),
    [
        ("cuda", torch.bfloat16, 128, True),
        ("cuda", torch.float16, 64, True),
        ("cuda", torch.float32, 128, False),
        ("cuda", torch.bfloat16, 256, False),
        ("cuda", torch.bfloat16, 100, False),
        ("mps", torch.float16, 64, False),
        ("cpu", torch.float32, 3, True),
    ],
)
def test_other_heads_and_precisions_are_left_to_flex_attention(
    device: str, dtype: torch.dtype, head: int, pays: bool
) -> None:
    assert one_by_one_pays(device, dtype, head) == pays


@pytest.mark.parametrize(("count", "rows"), [(1, 256), (256, 256), (257, 512)])
def test_bounds_come_in_few_sizes(count: int, rows: int) -> None:
    one = samples()[3]
    layout = collate([single(one)] * count, packed=True, one_by_one=True).layout
    assert layout is not None
    assert layout.documents is not None
    assert layout.documents.bounds.shape == (rows, 2)
    assert int((layout.documents.bounds[:, 1] > 0).sum()) == count
    assert rows >= MIN_BOUNDS
