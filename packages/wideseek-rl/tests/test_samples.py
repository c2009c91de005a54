import math
from dataclasses import replace

import numpy as np
import pytest

from wideseek_core import TrainError, Turn
from wideseek_rl import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.batch.samples import is_trainable, split_samples, turn_numbers
from wideseek_rl.testing import make_turn


def trained(turn: Turn, weight: float = 1.0, advantage: float = 1.0) -> TrainedTurn:
    return TrainedTurn(turn=turn, weight=weight, advantage=advantage)


def ids(samples: list[TrainingSample]) -> list[list[int]]:
    return sorted([int(i) for i in sample.ids] for sample in samples)


def test_turns_that_extend_one_another_make_one_row() -> None:
    first = make_turn([1, 2], [3, 4], logprob=-1.0)
    second = make_turn([1, 2, 3, 4, 5], [6], logprob=-2.0)
    (sample,) = build_samples([trained(second, 0.5, 2.0), trained(first, 0.25, -1.0)], group=3)
    assert sample.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert sample.weights.tolist() == [0, 0, 0.25, 0.25, 0, 0.5]
    assert sample.advantages.tolist() == [0, 0, -1, -1, 0, 2]
    assert sample.logprobs.tolist() == [0, 0, -1, -1, 0, -2]
    assert (sample.group, sample.trained, len(sample)) == (3, 3, 6)


def test_a_rebuilt_context_begins_a_new_row() -> None:
    turns = [make_turn([1, 2], [3]), make_turn([1, 9], [4]), make_turn([1, 9, 4, 5], [6])]
    samples = build_samples([trained(turn) for turn in turns])
    assert ids(samples) == [[1, 2, 3], [1, 9, 4, 5, 6]]


def test_siblings_from_one_prompt_never_share_a_row() -> None:
    turns = [make_turn([1, 2], [3, 4]), make_turn([1, 2], [3, 4, 5]), make_turn([1, 2], [3, 4])]
    samples = build_samples([trained(turn) for turn in turns])
    assert ids(samples) == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert sum(sample.trained for sample in samples) == 7


def test_a_turn_that_says_one_token_more_than_its_sibling_does_not_extend_it() -> None:
    samples = build_samples([trained(make_turn([1, 2], [3])), trained(make_turn([1, 2], [3, 4]))])
    assert ids(samples) == [[1, 2, 3], [1, 2, 3, 4]]
    assert sorted(sample.trained for sample in samples) == [1, 2]


def test_tokens_without_a_finite_log_prob_do_not_train() -> None:
    turn = replace(make_turn([1], [2, 3, 4]), logprobs=(-0.5, math.nan, -1e300))
    (sample,) = build_samples([trained(turn, weight=0.25)])
    assert sample.weights.tolist() == [0, 0.25, 0, 0]
    assert sample.logprobs.tolist() == [0, -0.5, 0, 0]
    assert (sample.trained, sample.nll) == (1, 0.5)


@pytest.mark.parametrize(
    ("prompt", "response", "logprobs", "sound"),
    [
        ((1,), (2,), (-0.1,), True),
        ((0,), (0,), (0.0,), True),
        ((), (2,), (-0.1,), False),
        ((1,), (), (), False),
        ((1,), (2, 3), (-0.1,), False),
        ((1,), (2,), (-0.1, -0.2), False),
        ((-1,), (2,), (-0.1,), False),
        ((1,), (-2,), (-0.1,), False),
        (((1 << 31) - 1,), (2,), (-0.1,), True),
        ((1 << 31,), (2,), (-0.1,), False),
    ],
)
def test_a_turn_can_train_if_its_tokens_have_log_probs(
    prompt: tuple[int, ...], response: tuple[int, ...], logprobs: tuple[float, ...], sound: bool
) -> None:
    turn = replace(make_turn(prompt, response), logprobs=logprobs)
    assert is_trainable(turn) is sound


def test_a_branch_takes_its_ancestor_only_once() -> None:
    root = make_turn([1], [2])
    branches = [make_turn([1, 2, 7], [8]), make_turn([1, 2, 9], [10])]
    samples = build_samples([trained(turn) for turn in [root, *branches]])
    assert ids(samples) == [[1, 2, 7, 8], [1, 2, 9, 10]]
    assert sum(sample.trained for sample in samples) == 3


def test_large_ids_sort_and_merge_as_numbers() -> None:
    first = make_turn([151_645, 255], [256, 65_536])
    second = make_turn([151_645, 255, 256, 65_536, 7], [1])
    assert len(build_samples([trained(second), trained(first)])) == 1


def test_a_long_conversation_makes_one_row_of_its_own_length() -> None:
    context: list[int] = [1]
    turns: list[Turn] = []
    for number in range(200):
        turns.append(make_turn(context, [number, number + 1]))
        context = [*context, number, number + 1, 500]
    (sample,) = build_samples([trained(turn) for turn in turns])
    assert len(sample) == len(context) - 1
    assert sample.trained == 400


def test_turns_of_chat_endpoints_cannot_train() -> None:
    with pytest.raises(TrainError, match="0 prompt ids, 0 response ids"):
        build_samples([trained(make_turn([], []))])


def test_updates_get_whole_questions_and_keep_the_scale() -> None:
    samples = [
        sample
        for group in range(3)
        for _ in range(2)
        for sample in build_samples([trained(make_turn([1], [group]))], group=group)
    ]
    parts = list(split_samples(samples, 2))
    assert [sorted({sample.group for sample in part}) for part in parts] == [[0, 2], [1]]
    # The mean over three questions becomes the mean over two, and over one.
    assert [float(part[0].weights.max()) for part in parts] == [1.5, 3.0]


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_weights_of_equal_updates_grow_by_their_number(parts: int) -> None:
    samples = [
        sample
        for group in range(parts)
        for sample in build_samples([trained(make_turn([1], [group]), 0.5)], group=group)
    ]
    found = [float(part[0].weights.max()) for part in split_samples(samples, parts)]
    assert found == [0.5 * parts] * parts


def test_there_are_never_more_updates_than_questions() -> None:
    samples = build_samples([trained(make_turn())])
    (part,) = split_samples(samples, 4)
    assert np.array_equal(part[0].weights, samples[0].weights)


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_a_turn_that_was_sampled_beside_another_is_not_merged_with_it(overlap: int) -> None:
    # The second prompt ends `overlap` tokens before the first response does, and its own response
    # begins with those tokens: merged, they would train once with the wrong weight.
    first = make_turn([1, 2], [3, 4, 5])
    second = make_turn([1, 2, 3, 4, 5][: 5 - overlap], [*[3, 4, 5][3 - overlap :], 6])
    turns = [TrainedTurn(turn=turn, weight=0.5, advantage=1.0) for turn in (first, second)]
    samples = build_samples(turns)
    assert sorted(sample.trained for sample in samples) == sorted([3, overlap + 1])


def test_a_turn_is_a_response_whatever_of_it_trains() -> None:
    broken = (-0.5, math.nan, -0.5, math.inf)
    first = replace(make_turn([1, 2], [3, 4, 5, 6]), logprobs=broken)
    second = make_turn([1, 2, 3, 4, 5, 6], [7, 8])  # follows without a token between
    third = make_turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [10])
    other = replace(make_turn([2], [3, 4, 5]), logprobs=(math.nan, -0.5, -0.5))
    unseen = replace(make_turn([9], [3]), logprobs=(math.nan,))
    samples = [*build_samples([trained(turn) for turn in (third, first, second)])]
    samples += build_samples([trained(unseen)]) + build_samples([trained(other)])
    assert samples[0].turn_starts == (2, 6, 9)
    assert samples[0].turns().tolist() == [0, 0, 1, 1, 2]
    assert turn_numbers(samples).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert turn_numbers([]).tolist() == []


def test_a_turn_of_which_nothing_trains_has_no_number() -> None:
    first, second = make_turn([1], [2, 3]), make_turn([1, 2, 3, 4], [5])
    (sample,) = build_samples([trained(first, weight=0.0), trained(second)])
    assert sample.turns().tolist() == [0]


def test_where_the_turns_are_not_known_one_is_what_trains_without_a_gap() -> None:
    weights = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1], dtype=np.float32)
    zeros = np.zeros(9, dtype=np.float32)
    ids = np.arange(9, dtype=np.int32)
    sample = TrainingSample(ids=ids, weights=weights, advantages=zeros, logprobs=zeros)
    assert sample.turns().tolist() == [0, 0, 1, 1, 2]
