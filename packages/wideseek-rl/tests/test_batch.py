import torch
from hypothesis import given
from hypothesis import strategies as st

from wideseek_rl import Row, TrainedTurn, build_rows
from wideseek_rl.batch import collate, pack_rows
from wideseek_rl.testing import make_turn


def row(prompt: int, response: int) -> Row:
    turn = make_turn([1] * prompt, list(range(2, 2 + response)))
    return build_rows([TrainedTurn(turn=turn, weight=0.5, advantage=-1.0)])[0]


def test_rows_are_packed_longest_first_within_the_budget() -> None:
    rows = [row(3, 2), row(8, 2), row(3, 3), row(7, 2)]
    assert [[len(r) for r in batch] for batch in pack_rows(rows, 20)] == [[10, 9], [6, 5]]


def test_a_row_longer_than_the_budget_gets_its_own_batch() -> None:
    assert [[len(r) for r in b] for b in pack_rows([row(50, 5), row(3, 2)], 20)] == [[55], [5]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(41, 200))
def test_no_row_is_lost_and_no_batch_is_too_large(lengths: list[int], budget: int) -> None:
    batches = pack_rows([row(length, 1) for length in lengths], budget)
    assert sorted(len(r) for batch in batches for r in batch) == sorted(n + 1 for n in lengths)
    assert all(len(batch) * max(map(len, batch)) <= budget for batch in batches)


def test_collating_pads_on_the_right_and_points_at_the_predicting_states() -> None:
    batch = collate([row(2, 2), row(1, 2)])
    assert torch.equal(batch.ids, torch.tensor([[1, 1, 2, 3], [1, 2, 3, 0]]))
    assert torch.equal(batch.lengths, torch.tensor([4, 3]))
    assert torch.equal(batch.places, torch.tensor([1, 2, 4, 5]))
    assert torch.equal(batch.targets, torch.tensor([2, 3, 2, 3]))
    assert torch.equal(batch.weights, torch.full((4,), 0.5))
    assert torch.equal(batch.advantages, torch.full((4,), -1.0))
    assert torch.equal(batch.logprobs, torch.full((4,), -0.5))
    assert batch.tokens == 8
