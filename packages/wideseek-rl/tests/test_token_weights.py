import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_rl.algorithm.token_weights import prompt_scale, token_weights

counts = st.lists(
    st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(any), min_size=1, max_size=6
)


def test_dual_level_weights_by_hand() -> None:
    # Two rollouts: one of two agents with 10 and 5 tokens, one of a single agent with 20.
    weights = token_weights([[10, 5], [20]], "agent")
    assert weights == [[1 / 2 / 2 / 10, 1 / 2 / 2 / 5], [1 / 2 / 20]]


def test_agents_without_trained_tokens_do_not_count() -> None:
    assert token_weights([[10, 0, 0]], "agent") == [[1 / 10, 0.0, 0.0]]


def test_other_weightings_by_hand() -> None:
    tokens = [[10, 5], [20]]
    assert token_weights(tokens, "rollout") == [[1 / 30, 1 / 30], [1 / 40]]
    assert token_weights(tokens, "token") == [[1.0, 1.0], [1.0]]
    assert token_weights(tokens, "constant", constant_tokens=100) == [[1 / 200] * 2, [1 / 200]]


def test_a_step_is_the_mean_over_questions_or_over_tokens() -> None:
    assert prompt_scale("agent", prompts=4, tokens=900) == 1 / 4
    assert prompt_scale("token", prompts=4, tokens=900) == 1 / 900
    assert prompt_scale("agent", prompts=0, tokens=0) == 1


@given(counts)
def test_every_rollout_weighs_the_same_however_wide_or_long(tokens: list[list[int]]) -> None:
    weights = token_weights(tokens, "agent")
    for agents, row in zip(tokens, weights, strict=True):
        total = sum(count * weight for count, weight in zip(agents, row, strict=True))
        assert total == pytest.approx(1 / len(tokens))
