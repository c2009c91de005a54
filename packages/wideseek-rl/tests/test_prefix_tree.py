import random
from typing import Literal

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import (
    create_mask,  # pyright: ignore[reportUnknownVariableType]
)

from wideseek_rl import OptimizerConfig, TorchTrainerConfig, TrainingSample
from wideseek_rl.batch.packing import MAX_MASK, BatchShape, collate, plan
from wideseek_rl.batch.prefix_tree import PrefixTree, build_prefix_trees, single
from wideseek_rl.models.flex import block_mask
from wideseek_rl.models.layout import dense_mask
from wideseek_rl.testing import known, tiny_model
from wideseek_rl.trainers.micro_batch_loss import token_logprobs
from wideseek_rl.trainers.torch import TorchTrainer


def sample(ids: list[int], *, trained: int = 2, advantage: float = 1.0) -> TrainingSample:
    """Trains its last tokens."""
    weights = np.zeros(len(ids), dtype=np.float32)
    weights[-trained:] = 0.25
    return TrainingSample(
        ids=np.array(ids, dtype=np.int32),
        weights=weights,
        advantages=np.full(len(ids), advantage, dtype=np.float32),
        logprobs=np.full(len(ids), -2.0, dtype=np.float32),
    )


def paths(tree: PrefixTree) -> list[list[int]]:
    return [path.tolist() for path in tree.paths]


def many(seed: int, count: int = 24) -> list[TrainingSample]:
    """Samples that leave one another's way at all depths, some of them equal."""
    rng = random.Random(seed)
    samples: list[list[int]] = [[rng.randrange(3, 17) for _ in range(40)]]
    while len(samples) < count:
        old = rng.choice(samples)
        kept = old[: rng.randint(1, len(old))]
        samples.append([*kept, *(rng.randrange(3, 17) for _ in range(rng.choice((0, 2, 5, 30))))])
    return [sample(ids, trained=1, advantage=rng.uniform(-1, 1)) for ids in samples if len(ids) > 1]


def test_rows_share_what_they_begin_with() -> None:
    (tree,) = build_prefix_trees([sample([1, 2, 3]), sample([1, 2, 4, 5])], 100)
    assert tree.ids.tolist() == [1, 2, 3, 4, 5]
    assert paths(tree) == [[0, 1, 2], [0, 1, 3, 4]]
    assert tree.branched
    assert tree.positions().tolist() == [0, 1, 2, 2, 3]
    assert tree.ends().tolist() == [5, 5, 3, 5, 5]
    ends, positions = torch.as_tensor(tree.ends()), torch.as_tensor(tree.positions())
    wanted = torch.tensor(
        [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 0, 1, 0],
            [1, 1, 0, 1, 1],
        ]
    )
    assert torch.equal(dense_mask(ends[None], positions[None], None)[0, 0].int(), wanted)


def test_equal_rows_and_beginnings_of_others_need_no_branch() -> None:
    (tree,) = build_prefix_trees([sample([1, 2, 3, 4]), sample([1, 2]), sample([1, 2, 3, 4])], 100)
    assert (tree.ids.tolist(), tree.branched) == ([1, 2, 3, 4], False)
    assert sorted(paths(tree)) == [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_rows_that_share_too_little_stay_apart() -> None:
    # 1,500 tokens each, 10 in common: the pairs under a mask cost more than is saved.
    apart = [sample([1] * 10 + [kind] * 1490) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(apart, 10_000)] == [1500, 1500]
    half = [sample([1] * 600 + [kind] * 300) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(half, 10_000)] == [900, 900]
    together = [sample([1] * 1490 + [kind] * 10) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(together, 10_000)] == [1510]


def test_rows_that_share_nothing_are_trees_of_one_node() -> None:
    trees = build_prefix_trees([sample([4, 2, 3]), sample([5, 6]), sample([7, 8, 9])], 100)
    assert [(tree.ids.tolist(), len(tree.starts)) for tree in trees] == [
        ([4, 2, 3], 1),
        ([5, 6], 1),
        ([7, 8, 9], 1),
    ]


def test_no_tree_is_larger_than_allowed() -> None:
    samples = [sample([1, 2, 3]), sample([1, 2, 4, 5])]
    assert [len(tree) for tree in build_prefix_trees(samples, 4)] == [3, 4]


def test_eight_long_samples_are_one_tree() -> None:
    # No two of them pay for a mask, all eight do: 8 x 1,800 tokens become 1,500 + 8 x 300.
    shared = [1 + at % 15 for at in range(1500)]
    samples = [sample([*shared, 3 + kind, *[kind + 1] * 299]) for kind in range(8)]
    (tree,) = build_prefix_trees(samples, 32_000)
    assert len(tree) == 1500 + 8 * 300
    assert [len(path) for path in tree.paths] == [1800] * 8


def test_a_kernel_that_skips_pairs_always_shares() -> None:
    apart = [sample([1] * 10 + [kind] * 1490) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(apart, 10_000, pair_cost=0.0)] == [2990]


def test_trees_are_cut_where_they_would_be_too_large() -> None:
    # Six samples share 50 tokens, in pairs 20 more, and end in 30 of their own.
    samples = [
        sample([*[1] * 50, *[2 + pair] * 20, *[8 + 2 * pair + end] * 30])
        for pair in range(3)
        for end in range(2)
    ]
    sizes = {
        limit: sorted(len(t) for t in build_prefix_trees(samples, limit, pair_cost=0.0))
        for limit in (290, 210, 130, 100)
    }
    assert sizes == {
        290: [50 + 3 * 80],
        210: [50 + 80, 50 + 2 * 80],
        130: [130, 130, 130],
        100: [100] * 6,
    }


def test_trees_of_rows_are_no_longer_than_their_masks_may_be() -> None:
    shared = [1 + at % 15 for at in range(7000)]
    samples = [sample([*shared, *[16 + kind] * 100]) for kind in range(14)]
    lengths = {
        kind: [len(tree) for batch in plan(samples, shape) for tree in batch]
        for kind, shape in (
            ("rows", BatchShape(max_tokens=32_000, kind="rows")),
            ("packed", BatchShape(max_tokens=32_000, kind="packed")),
        )
    }
    # Under a mask of 8,192 tokens eleven of the samples have room; packed ones have no mask.
    assert lengths == {"rows": [7700, 7700], "packed": [7000 + 14 * 100]}


def test_masks_of_one_batch_at_a_time_are_made_and_stay_bounded() -> None:
    shared = [1 + at % 15 for at in range(500)]
    samples = [
        sample([*[kind] * 8, *shared, *[kind + member] * 100])
        for kind in range(1, 17)
        for member in range(8)
    ]
    batches = plan(samples, BatchShape(max_tokens=32_000))
    assert sum(len(tree) for batch in batches for tree in batch) == 16 * (508 + 8 * 100)
    for batch in batches:
        layout = collate(batch).layout
        assert layout is not None
        numbers = layout.positions.numel() + layout.ends.numel()
        assert numbers == 2 * len(batch) * len(batch[0])  # no pairs until somebody asks
        mask = layout.pattern()
        assert isinstance(mask, torch.Tensor)
        assert mask.numel() * mask.element_size() <= MAX_MASK


@pytest.mark.parametrize("seed", range(3))
def test_packed_sequences_give_every_token_the_logprob_of_its_own_row(seed: int) -> None:
    model, samples = tiny_model(), many(seed)
    alone = {id(one): token_logprobs(model, collate([single(one)]))[0] for one in samples}
    for batch in plan(samples, BatchShape(max_tokens=300, kind="packed")):
        packed = collate(batch, packed=True)
        assert packed.ids.shape[0] == 1
        assert packed.ids.shape[1] % 128 == 0
        wanted = torch.cat([alone[id(one)] for one in packed.samples])
        torch.testing.assert_close(token_logprobs(model, packed)[0], wanted, atol=1e-5, rtol=0)


def listed(counts: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Lists of blocks `[1, 1, Q, K]` as a table of those that are in them, `[Q, K]`."""
    found = torch.zeros(order.shape[-2:], dtype=torch.bool)
    for query, count in enumerate(counts[0, 0]):
        found[query, order[0, 0, query, : int(count)].long()] = True
    return found


@pytest.mark.parametrize("window", [None, 20])
def test_blocks_of_flex_attention_allow_what_the_dense_mask_allows(window: int | None) -> None:
    samples = [sample([1] * 900 + [kind] * 200) for kind in (2, 3)] + many(3, 100)
    (batch,) = plan(samples, BatchShape(max_tokens=10_000, kind="packed"))
    layout = collate(batch, packed=True).layout
    assert layout is not None
    blocks = block_mask(layout.ends, layout.positions, window)
    wanted = dense_mask(layout.ends, layout.positions, window)[0, 0]
    width = layout.ends.shape[1]
    count = width // 128
    squares = wanted.view(count, 128, count, 128).transpose(1, 2).flatten(2)  # [Q, K, 128 · 128]
    assert blocks.full_kv_num_blocks is not None
    assert blocks.full_kv_indices is not None
    full = listed(blocks.full_kv_num_blocks, blocks.full_kv_indices)
    some = listed(blocks.kv_num_blocks, blocks.kv_indices)
    assert bool(squares.all(-1)[full].all())
    assert bool((squares.any(-1) <= (some | full)).all())
    assert not bool((some & full).any())
    if window is None:
        assert torch.equal(squares.any(-1), some | full)
        assert 0 < int(full.sum()) < int((some | full).sum()) < count * (count + 1) // 2
    mask = create_mask(blocks.mask_mod, 1, 1, width, width, device="cpu")
    assert torch.equal(mask[0, 0], wanted)


@pytest.mark.parametrize("seed", range(5))
def test_every_token_has_the_logprob_it_has_in_its_own_row(seed: int) -> None:
    model, samples = tiny_model(), many(seed)
    alone = {id(one): token_logprobs(model, collate([single(one)]))[0] for one in samples}
    batches = plan(samples, BatchShape(max_tokens=500))
    assert any(tree.branched for batch in batches for tree in batch)
    for batch in batches:
        found = token_logprobs(model, collate(batch))[0]
        wanted = torch.cat([alone[id(one)] for tree in batch for one in tree.samples])
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("recompute", ["none", "mlp", "layer"])
@pytest.mark.parametrize("attention", ["rows", "packed"])
def test_sharing_has_the_gradient_of_rows_apart(
    recompute: Literal["none", "mlp", "layer"], attention: Literal["rows", "packed"]
) -> None:
    gradients: list[torch.Tensor] = []
    run: list[float] = []
    for share in (False, True):
        model = tiny_model()
        config = TorchTrainerConfig(
            optimizer=OptimizerConfig(grad_clip=1e9),
            share_prefixes=share,
            attention=attention,
            recompute=recompute,
        )
        run.append(known(TorchTrainer(model, config).update(many(7)).tokens_run))
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert float(gradients[0].abs().max()) > 1e-2
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-5
    assert run[1] < 0.8 * run[0]
