import random

import numpy as np
import pytest
import torch

from wideseek_rl import OptimizerConfig, TorchTrainer, TorchTrainerConfig, TrainingSample
from wideseek_rl.batch.packing import collate, plan
from wideseek_rl.batch.prefix_tree import PrefixTree, build_prefix_trees, single
from wideseek_rl.testing import tiny_model
from wideseek_rl.trainers.loss import token_logprobs


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
    assert tree.mask().astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_equal_rows_and_beginnings_of_others_need_no_branch() -> None:
    (tree,) = build_prefix_trees([sample([1, 2, 3, 4]), sample([1, 2]), sample([1, 2, 3, 4])], 100)
    assert (tree.ids.tolist(), tree.branched) == ([1, 2, 3, 4], False)
    assert sorted(paths(tree)) == [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_rows_that_share_too_little_stay_apart() -> None:
    # 1,500 tokens each, 10 in common: the pairs under a mask cost more than is saved.
    apart = [sample([1] * 10 + [kind] * 1490) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(apart, 10_000)] == [1500, 1500]
    together = [sample([1] * 1490 + [kind] * 10) for kind in (2, 3)]
    assert [len(tree) for tree in build_prefix_trees(together, 10_000)] == [1510]


def test_no_tree_is_larger_than_allowed() -> None:
    samples = [sample([1, 2, 3]), sample([1, 2, 4, 5])]
    assert [len(tree) for tree in build_prefix_trees(samples, 4)] == [3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_every_token_has_the_logprob_it_has_in_its_own_row(seed: int) -> None:
    model, samples = tiny_model(), many(seed)
    alone = {id(one): token_logprobs(model, collate([single(one)]))[0] for one in samples}
    batches = plan(samples, 500)
    assert any(tree.branched for batch in batches for tree in batch)
    for batch in batches:
        found = token_logprobs(model, collate(batch))[0]
        wanted = torch.cat([alone[id(one)] for tree in batch for one in tree.samples])
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_sharing_has_the_gradient_of_rows_apart(checkpointed: bool) -> None:
    gradients: list[torch.Tensor] = []
    run: list[float] = []
    for share in (False, True):
        model = tiny_model()
        config = TorchTrainerConfig(
            optimizer=OptimizerConfig(grad_clip=1e9),
            share_prefixes=share,
            checkpoint_layers=checkpointed,
        )
        run.append(TorchTrainer(model, config).update(many(7)).tokens_run)
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert float(gradients[0].abs().max()) > 1e-2
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-5
    assert run[1] < 0.8 * run[0]
