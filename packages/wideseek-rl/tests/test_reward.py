import pytest
from pydantic import ValidationError

from wideseek_core import Status
from wideseek_rl import RewardConfig, ScoredEpisode, open_reward
from wideseek_rl.testing import make_agent, make_scored, make_turn


def reward(scored: ScoredEpisode, config: RewardConfig) -> float:
    return open_reward(config)(scored).value


def test_valid_answer_earns_score_and_format_bonus() -> None:
    assert reward(make_scored(value=0.4), RewardConfig()) == pytest.approx(0.5)


def test_an_access_call_of_any_agent_earns_the_bonus_once() -> None:
    sub = make_agent(make_turn(calls=["access", "search", "access"]), role="subagent")
    assert reward(make_scored(make_agent(), sub, value=0.4), RewardConfig()) == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("longest", "penalty"), [(3000, 0.0), (3500, 0.025), (4000, 0.05), (5000, 0.1), (90_000, 0.1)]
)
def test_long_turns_cost_linearly_up_to_the_limit(longest: int, penalty: float) -> None:
    scored = make_scored(make_agent(make_turn(response_tokens=longest)), value=1.0)
    assert reward(scored, RewardConfig()) == pytest.approx(1.1 - penalty)


def test_the_longest_turn_of_any_agent_counts() -> None:
    lead = make_agent(make_turn(response_tokens=10))
    sub = make_agent(make_turn(response_tokens=4000), make_turn(response_tokens=9))
    assert reward(make_scored(lead, sub, value=1.0), RewardConfig()) == pytest.approx(1.05)


def test_no_valid_answer_earns_nothing() -> None:
    assert reward(make_scored(value=0.9, valid=False), RewardConfig()) == 0.0


def test_a_lead_that_failed_earns_nothing_although_its_text_parses() -> None:
    lead = make_agent(status=Status.TURN_LIMIT)
    assert reward(make_scored(lead, value=0.9), RewardConfig()) == 0.0


def test_length_limits_must_be_in_order() -> None:
    with pytest.raises(ValidationError, match="length_full_tokens must be greater"):
        RewardConfig(length_free_tokens=5000, length_full_tokens=5000)


def test_every_term_is_told_apart() -> None:
    agent = make_agent(make_turn(calls=["access"], response_tokens=4000))
    terms = open_reward(RewardConfig())(make_scored(agent, value=0.5)).terms
    assert terms == pytest.approx({"score": 0.5, "format": 0.1, "access": 0.05, "length": -0.05})


def test_a_weight_that_is_given_leaves_the_others_as_they_are() -> None:
    config = RewardConfig.model_validate({"weights": {"score": 2, "length": 0}})
    assert config.weights == {"score": 2.0, "format": 0.1, "access": 0.05, "length": 0.0}
    assert reward(make_scored(value=0.5), config) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"scroe": 1.0}, "no reward term is named 'scroe'; there are score, format"),
        ({"score": float("nan")}, "finite number"),
        ({"score": float("inf")}, "finite number"),
    ],
)
def test_weights_of_unknown_terms_and_odd_weights_are_refused(
    weights: dict[str, float], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        RewardConfig(weights=weights)
