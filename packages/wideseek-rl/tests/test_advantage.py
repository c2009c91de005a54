import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_rl import AdvantageConfig, advantages

DEFAULT = AdvantageConfig()
groups = st.lists(st.floats(-1, 2).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def test_advantages_of_a_group_by_hand() -> None:
    # mean 0.5, squared deviations 0.25 + 0.25 = 0.5, over n−1 = 3: std 0.408248
    values = advantages([0.0, 0.5, 0.5, 1.0], DEFAULT)
    assert values == pytest.approx([-1.224742, 0, 0, 1.224742], abs=1e-5)


def test_a_millionth_is_added_to_the_deviation() -> None:
    # mean 1e-6, std √2 · 1e-6: 1 / (√2 + 1)
    assert advantages([0.0, 2e-6], DEFAULT)[1] == pytest.approx(math.sqrt(2) - 1)


def test_population_deviation_divides_by_n() -> None:
    values = advantages([0.0, 0.5, 0.5, 1.0], AdvantageConfig(std="population"))
    assert values == pytest.approx([-math.sqrt(2), 0, 0, math.sqrt(2)], abs=1e-5)


def test_without_deviation_rewards_are_only_centred() -> None:
    assert advantages([0.0, 1.0], AdvantageConfig(std="none")) == [-0.5, 0.5]


@pytest.mark.parametrize("rewards", [[], [0.7], [0.1] * 3, [1 / 3] * 7])
def test_equal_rewards_give_exactly_zero(rewards: list[float]) -> None:
    assert advantages(rewards, DEFAULT) == [0.0] * len(rewards)


def test_groups_of_little_spread_can_be_left_out() -> None:
    assert advantages([0.5, 0.51], AdvantageConfig(min_spread=0.05)) == [0.0, 0.0]


@given(groups)
def test_the_mean_of_a_group_is_zero(rewards: list[float]) -> None:
    assert sum(advantages(rewards, DEFAULT)) == pytest.approx(0, abs=1e-6)


@given(groups, st.randoms(use_true_random=False))
def test_a_permuted_group_gets_permuted_advantages(rewards: list[float], random: Random) -> None:
    order = random.sample(range(len(rewards)), len(rewards))
    permuted = advantages([rewards[i] for i in order], DEFAULT)
    plain = advantages(rewards, DEFAULT)
    assert permuted == pytest.approx([plain[i] for i in order], abs=1e-9)


@given(groups, st.floats(-5, 5))
def test_shifting_all_rewards_changes_nothing(rewards: list[float], shift: float) -> None:
    if max(rewards) - min(rewards) < 0.01:
        return
    moved = advantages([reward + shift for reward in rewards], DEFAULT)
    assert moved == pytest.approx(advantages(rewards, DEFAULT), abs=1e-6)
