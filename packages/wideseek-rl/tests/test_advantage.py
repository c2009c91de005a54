import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import Trajectory
from wideseek_rl import AdvantageConfig, ScoredEpisode, advantages
from wideseek_rl.algorithm.advantage import agent_advantages
from wideseek_rl.testing import make_agent, make_scored, make_turn

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


def test_leave_one_out_compares_with_the_others_alone() -> None:
    # The others of 0 have the mean (0.5 + 1) / 2, those of 0.5 have 0.5, those of 1 have 0.25.
    config = AdvantageConfig(baseline="leave_one_out", std="none")
    assert advantages([0.0, 0.5, 1.0], config) == pytest.approx([-0.75, 0, 0.75])


@given(groups)
def test_leave_one_out_is_the_centred_reward_times_g_over_g_minus_1(rewards: list[float]) -> None:
    centred = advantages(rewards, AdvantageConfig(std="none"))
    loo = advantages(rewards, AdvantageConfig(std="none", baseline="leave_one_out"))
    factor = len(rewards) / (len(rewards) - 1)
    assert loo == pytest.approx([value * factor for value in centred], abs=1e-9)


def test_rewards_may_count_several_times() -> None:
    # As [0, 1, 1, 1]: mean 0.75; without the own three, the mean of the others is 0.
    none = AdvantageConfig(std="none")
    assert advantages([0.0, 1.0], none, [1, 3]) == pytest.approx([-0.75, 0.25])
    loo = AdvantageConfig(std="none", baseline="leave_one_out")
    assert advantages([0.0, 1.0], loo, [1, 3]) == pytest.approx([-1.0, 1.0])
    # std of [0, 1, 1, 1] over n−1: √(0.75/3) = 0.5
    assert advantages([0.0, 1.0], DEFAULT, [1, 3]) == pytest.approx([-1.5, 0.5], abs=1e-5)


def test_a_reward_that_does_not_count_is_compared_with_nothing() -> None:
    assert advantages([0.0, 1.0, 9.0], AdvantageConfig(std="none"), [1, 1, 0]) == [-0.5, 0.5, 0.0]
    assert advantages([0.0, 1.0], DEFAULT, [1, 0]) == [0.0, 0.0]


@given(groups, st.data())
def test_counting_is_repeating(rewards: list[float], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(rewards), max_size=len(rewards)))
    repeated = [r for r, count in zip(rewards, counts, strict=True) for _ in range(count)]
    wanted = iter(advantages(repeated, DEFAULT))
    expected = [[next(wanted) for _ in range(count)].pop() for count in counts]
    assert advantages(rewards, DEFAULT, counts) == pytest.approx(expected, abs=1e-6)


def team(*subagents: int) -> ScoredEpisode:
    """A lead of one turn, and subagents of so many turns."""
    subs: list[Trajectory] = [
        make_agent(*[make_turn()] * turns, role="subagent", agent=number + 1)
        for number, turns in enumerate(subagents)
    ]
    return make_scored(make_agent(), *subs)


def compared(rewards: list[float], group: list[ScoredEpisode], **how: str) -> list[list[float]]:
    config = AdvantageConfig.model_validate({"std": "none", **how})
    return agent_advantages(group, rewards, config)


def test_agents_of_a_rollout_are_compared_with_their_pool() -> None:
    # Subagents: the first rollout has two, of 1 and 3 turns, the second one of 2, the third none.
    group, rewards = [team(1, 3), team(2), team()], [1.0, 0.0, 0.2]
    lead = [0.6, -0.4, -0.2]  # mean 0.4
    assert compared(rewards, group) == [
        pytest.approx([0.6] * 3),
        pytest.approx([-0.4] * 2),
        pytest.approx([-0.2]),
    ]
    by_role = {
        "rollout": [0.5, -0.5],  # rewards 1, 0
        "trajectory": [1 / 3, -2 / 3],  # 1, 1, 0
        "turn": [1 / 3, -2 / 3],  # 1 four times, 0 twice
    }
    for unit, (first, second) in by_role.items():
        assert compared(rewards, group, pool="role", unit=unit) == [
            pytest.approx([lead[0], first, first]),
            pytest.approx([lead[1], second]),
            pytest.approx([lead[2]]),
        ]


def test_turns_of_the_whole_group_may_be_the_unit() -> None:
    # Turns: 5 of reward 1, 3 of 0, 1 of 0.2: mean 5.2/9.
    group, rewards = [team(1, 3), team(2), team()], [1.0, 0.0, 0.2]
    values = compared(rewards, group, unit="turn")
    assert [agents[0] for agents in values] == pytest.approx([1 - 5.2 / 9, -5.2 / 9, 0.2 - 5.2 / 9])


def test_agents_of_one_number_are_compared_and_lone_ones_are_not() -> None:
    values = compared([1.0, 0.0], [team(1, 1), team(1)], pool="agent")
    assert values == [[0.5, 0.5, 0.0], [-0.5, -0.5]]


subagent_turns = st.lists(st.integers(1, 3), max_size=4)


@given(
    st.lists(st.tuples(st.floats(0, 1), subagent_turns), min_size=2, max_size=6),
    st.sampled_from(["group", "role", "agent"]),
    st.sampled_from(["rollout", "trajectory", "turn"]),
)
def test_advantages_of_a_pool_sum_to_zero_over_its_units(
    rollouts: list[tuple[float, list[int]]], pool: str, unit: str
) -> None:
    rewards, group = [reward for reward, _ in rollouts], [team(*subs) for _, subs in rollouts]
    values = compared(rewards, group, pool=pool, unit=unit, std="sample")
    sums: dict[str, list[float]] = {}
    for scored, agents in zip(group, values, strict=True):
        seen: set[str] = set()
        for agent, value in zip(scored.episode.trajectories, agents, strict=True):
            name = {"group": "", "role": agent.role, "agent": str(agent.agent)}[pool]
            times = {"rollout": int(name not in seen), "trajectory": 1, "turn": len(agent.turns)}
            seen.add(name)
            sums.setdefault(name, []).append(times[unit] * value)
    for parts in sums.values():
        assert math.fsum(parts) == pytest.approx(0, abs=1e-5)
