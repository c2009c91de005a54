import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wideseek_rl import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.batch.packing import BatchShape, collate, fill, pack, plan
from wideseek_rl.batch.prefix_tree import single
from wideseek_rl.testing import make_turn
from wideseek_rl.trainers.policy_pass import padding_multiple


def sample(prompt: int, response: int) -> TrainingSample:
    turn = make_turn([1] * prompt, list(range(2, 2 + response)))
    return build_samples([TrainedTurn(turn=turn, weight=0.5, advantage=-1.0)])[0]


def test_rows_are_packed_longest_first_within_the_budget() -> None:
    samples = [sample(3, 2), sample(8, 2), sample(3, 3), sample(7, 2)]
    batches = pack([single(one) for one in samples], 20)
    assert [[len(tree) for tree in batch] for batch in batches] == [[10, 9], [6, 5]]


def test_a_row_longer_than_the_budget_gets_its_own_batch() -> None:
    batches = pack([single(sample(50, 5)), single(sample(3, 2))], 20)
    assert [[len(tree) for tree in batch] for batch in batches] == [[55], [5]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(41, 200), st.booleans())
def test_no_row_is_lost_and_no_batch_is_too_large(
    lengths: list[int], budget: int, share: bool
) -> None:
    batches = plan(
        [sample(length, 1) for length in lengths], BatchShape(max_tokens=budget, share=share)
    )
    samples = [len(r) for batch in batches for tree in batch for r in tree.samples]
    assert sorted(samples) == sorted(n + 1 for n in lengths)
    assert all(len(batch) * max(map(len, batch)) <= budget for batch in batches)


@pytest.mark.parametrize(("pairs", "rows"), [(15, 1), (16, 1), (31, 1), (32, 2), (48, 3)])
def test_the_pairs_of_masks_bound_a_batch(pairs: int, rows: int) -> None:
    trees = [single(sample(2, 2)) for _ in range(3)]
    batches = pack(trees, 1000, pairs)
    assert len(batches[0]) == rows
    assert sum(map(len, batches)) == 3


def test_sequences_are_shared_out_evenly_among_ranks() -> None:
    samples = [sample(length, 1) for length in (30, 20, 20, 10, 10, 9)]
    shape = BatchShape(max_tokens=64, kind="packed", share=False, ranks=2)
    batches = plan(samples, shape)
    lengths = [sorted(len(tree) for tree in batch) for batch in batches]
    assert lengths == [
        [11, 21, 21],
        [10, 11, 31],
    ]


@pytest.mark.parametrize(
    ("ranks", "passes"), [(1, 1), (1, 2), (1, 4), (2, 1), (2, 4), (3, 1), (4, 1)]
)
def test_what_fits_exactly_takes_no_pass_more_than_it_must(ranks: int, passes: int) -> None:
    """The longest-first rule alone takes one more, and then every rank makes a pass more."""
    lengths = [7681, 2047, 5121, 3583, 8190, 2562, 3584] * ranks * passes
    samples = [sample(length - 1, 1) for length in lengths]
    shape = BatchShape(max_tokens=32_768, kind="packed", share=False, ranks=ranks)
    batches = plan(samples, shape)
    assert [sum(map(len, batch)) for batch in batches] == [32_768] * ranks * passes


@given(st.lists(st.integers(1, 60), min_size=4, max_size=30), st.integers(2, 4))
def test_ranks_get_equally_many_sequences_within_the_budget(lengths: list[int], ranks: int) -> None:
    shape = BatchShape(max_tokens=62, kind="packed", share=False, ranks=ranks)
    batches = plan([sample(length, 1) for length in lengths], shape)
    found = sorted(len(tree) for batch in batches for tree in batch)
    assert found == sorted(length + 1 for length in lengths)
    assert all(sum(map(len, batch)) <= 62 for batch in batches)
    # Equally many for each rank, unless there are not even enough to give each of them one more,
    # and no more than the fewest that hold all need.
    assert len(batches) % ranks == 0 or len(batches) == len(lengths)
    fewest = fill([single(sample(length, 1)) for length in lengths], 62)
    assert len(batches) <= -(-len(fewest) // ranks) * ranks


def test_collating_pads_on_the_right_and_points_at_the_predicting_states() -> None:
    batch = collate([single(sample(2, 2)), single(sample(1, 2))])
    assert torch.equal(batch.ids, torch.tensor([[1, 1, 2, 3], [1, 2, 3, 0]]))
    assert torch.equal(batch.lengths, torch.tensor([4, 3]))
    assert torch.equal(batch.places, torch.tensor([1, 2, 4, 5]))
    assert torch.equal(batch.targets, torch.tensor([2, 3, 2, 3]))
    assert torch.equal(batch.weights, torch.full((4,), 0.5))
    assert torch.equal(batch.advantages, torch.full((4,), -1.0))
    assert torch.equal(batch.logprobs, torch.full((4,), -0.5))
    assert (batch.tokens, batch.layout) == (8, None)


def test_batches_with_branches_keep_to_themselves() -> None:
    alike = [branch(64, 1, 2), branch(64, 2, 2)]
    batches = plan([branch(0, 5, 4), *alike, branch(0, 9, 6)], BatchShape(max_tokens=1000))
    assert [[len(tree.samples) for tree in batch] for batch in batches] == [[1, 1], [2]]
    assert [collate(batch).layout is None for batch in batches] == [True, False]


def branch(shared: int, first: int, tail: int) -> TrainingSample:
    """Starts with `shared` tokens that its siblings have too."""
    turn = make_turn([first, *[16] * shared][::-1], [first] * tail)
    return build_samples([TrainedTurn(turn=turn, weight=0.5, advantage=1.0)])[0]


@pytest.mark.parametrize("budget", [100, 1000, 2048, 32_000, 32_768, 100_000])
def test_packed_sequences_are_padded_to_few_lengths(budget: int) -> None:
    multiple = padding_multiple(budget, 8)
    assert multiple % 128 == 0
    lengths = {
        collate([single(sample(n - 2, 2))], packed=True, multiple=multiple).ids.shape[1]
        for n in {budget * part // 50 for part in range(1, 51)}
        if n > 3
    }
    assert len(lengths) <= 8
    assert max(lengths) <= budget + multiple
