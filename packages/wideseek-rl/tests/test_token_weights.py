import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wideseek_rl import GroupRelativeConfig
from wideseek_rl.algorithm.token_weights import (
    LossScale,
    Weighting,
    prompt_scale,
    token_weights,
)

lengths = st.lists(st.integers(0, 30), min_size=1, max_size=4)
counts = st.lists(
    st.lists(lengths, min_size=1, max_size=5).filter(lambda agents: any(map(any, agents))),
    min_size=1,
    max_size=6,
)
ROLLOUT_SCALES: list[LossScale] = ["group", "rollout_turns", "turn_tokens"]


def test_dual_level_weights_by_hand() -> None:
    # Two rollouts: one of two agents with 10 and 5 tokens, one of a single agent with 20.
    weights = token_weights([[[10], [2, 3]], [[20]]], "agent")
    assert weights == [[[1 / 2 / 2 / 10], [1 / 2 / 2 / 5] * 2], [[1 / 2 / 20]]]


def test_agents_and_turns_without_trained_tokens_do_not_count() -> None:
    assert token_weights([[[10], [], [0]]], "agent") == [[[1 / 10], [], [0.0]]]
    assert token_weights([[[10, 0, 5], []]], ("agent", "turn")) == [[[0.5, 0.0, 0.5], []]]


def test_other_weightings_by_hand() -> None:
    tokens = [[[10], [5]], [[20]]]
    assert token_weights(tokens, "rollout") == [[[1 / 30], [1 / 30]], [[1 / 40]]]
    assert token_weights(tokens, "token") == [[[1.0], [1.0]], [[1.0]]]
    constant = token_weights(tokens, "constant", constant_tokens=100)
    assert constant == [[[1 / 200], [1 / 200]], [[1 / 200]]]


@pytest.mark.parametrize(
    ("scale", "first", "second", "third"),
    [
        ("group", 1 / 2, 1 / 2, 1 / 2),
        ("agent", 1 / 2, 1 / 2, 1 / 2),
        ("agent_tokens", 1 / 5, 1 / 5, 1 / 4),
        ("rollout_tokens", 1 / 9, 1 / 9, 1 / 9),
        ("rollout_turns", 1 / 3, 1 / 3, 1 / 3),
        ("turn", 1 / 2, 1 / 2, 1),
        ("turn_tokens", 1 / 2, 1 / 3, 1 / 4),
        ("step_tokens", 1, 1, 1),
        ("constant", 1 / 50, 1 / 50, 1 / 50),
    ],
)
def test_each_scale_by_hand(scale: LossScale, first: float, second: float, third: float) -> None:
    # The first of two rollouts has an agent with turns of 2 and 3 tokens, and one with 4.
    weights = token_weights([[[2, 3], [4]], [[7]]], (scale,), constant_tokens=50)
    assert weights[0] == [[first, second], [third]]


def test_a_turn_of_one_token_counts_as_a_turn() -> None:
    tokens = [[[1, 3, 0], [1]]]
    assert token_weights(tokens, ("turn",)) == [[[1 / 2, 1 / 2, 0.0], [1.0]]]
    assert token_weights(tokens, ("rollout_turns",)) == [[[1 / 3, 1 / 3, 0.0], [1 / 3]]]


def test_scales_multiply() -> None:
    tokens = [[[2, 3], [4]], [[7]]]
    assert token_weights(tokens, ("group", "agent", "agent_tokens")) == token_weights(
        tokens, "agent"
    )
    (first, _), _ = token_weights(tokens, ("group", "turn", "turn_tokens"))
    assert first == pytest.approx([1 / 2 / 2 / 2, 1 / 2 / 2 / 3])


def test_a_step_is_the_mean_over_questions_or_over_tokens() -> None:
    assert prompt_scale("agent", prompts=4, tokens=900) == 1 / 4
    assert prompt_scale("token", prompts=4, tokens=900) == 1 / 900
    assert prompt_scale(("group", "step_tokens"), prompts=4, tokens=900) == 1 / 900
    assert prompt_scale("agent", prompts=0, tokens=0) == 1


@pytest.mark.parametrize("wrong", [[], ["group", "group"], ["groups"], "agents"])
def test_a_weighting_is_a_name_or_a_list_of_different_scales(wrong: object) -> None:
    with pytest.raises(ValidationError, match="weighting"):
        GroupRelativeConfig.model_validate({"weighting": wrong})


@given(counts)
@pytest.mark.parametrize("weighting", ["agent", "rollout", tuple(ROLLOUT_SCALES)])
def test_every_rollout_weighs_the_same_however_wide_or_long(
    weighting: Weighting, tokens: list[list[list[int]]]
) -> None:
    weights = token_weights(tokens, weighting)
    for agents, row in zip(tokens, weights, strict=True):
        total = sum(
            count * weight
            for turns, values in zip(agents, row, strict=True)
            for count, weight in zip(turns, values, strict=True)
        )
        assert total == pytest.approx(1 / len(tokens))
