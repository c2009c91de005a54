import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from wideseek_core import ScoreState, Status, TrainError
from wideseek_rl import (
    AdvantageConfig,
    Algorithm,
    BestOfGroupConfig,
    GroupRelativeConfig,
    RLConfig,
    ScoredEpisode,
    StepBatch,
    TrainedTurn,
    TurnAlgorithm,
    TurnsConfig,
    advantages,
    best_of_group,
    build_step_batch,
    group_relative,
    open_algorithm,
)
from wideseek_rl.algorithm.selection import SelectionName
from wideseek_rl.testing import make_agent, make_cells, make_scored, make_turn


def values(step: StepBatch) -> list[list[float]]:
    return [[reward.value for reward in rewards if reward] for rewards in step.rewards]


def credit_of(algorithm: Algorithm, group: Sequence[ScoredEpisode]) -> list[list[TrainedTurn]]:
    credit = algorithm.credit(group, [reward.value for reward in algorithm.rewards(group)])
    assert credit is not None
    return credit


def test_samples_of_a_step_by_hand() -> None:
    # Question 1: a lead of 2 tokens with a subagent of 4, reward 0.6; a lead of 5, reward 0.1.
    # Question 2: two rollouts of equal reward.
    sub = make_agent(make_turn([7], [1, 2, 3, 4]), role="subagent", agent=1)
    wide = make_scored(make_agent(make_turn([8], [1, 2])), sub, value=0.5)
    narrow = make_scored(make_agent(make_turn([9], [1, 2, 3, 4, 5])), value=0.0)
    flat = [make_scored(make_agent(make_turn([6], [1])), value=0.3) for _ in range(2)]
    config = GroupRelativeConfig(advantage=AdvantageConfig(std="none"))
    step = build_step_batch([[wide, narrow], flat], group_relative(config))
    assert values(step) == [pytest.approx([0.6, 0.1]), pytest.approx([0.4, 0.4])]
    assert (step.dropped.total(), step.zero_variance) == (0, 1)
    shown = [(int(r.ids[0]), float(r.weights[-1]), float(r.advantages[-1])) for r in step.samples]
    assert shown == [
        (8, pytest.approx(1 / 2 / 2 / 2 / 2), pytest.approx(0.25)),  # 1/Q · 1/G · 1/N · 1/|o|
        (7, pytest.approx(1 / 2 / 2 / 2 / 4), pytest.approx(0.25)),
        (9, pytest.approx(1 / 2 / 2 / 5), pytest.approx(-0.25)),
        (6, pytest.approx(1 / 2 / 2), 0.0),
        (6, pytest.approx(1 / 2 / 2), 0.0),
    ]


def test_broken_and_unscored_rollouts_are_dropped_and_counted() -> None:
    good = [make_scored(value=0.1), make_scored(value=0.9)]
    unscored = make_scored(state=ScoreState.UNSCORED, value=0.0)
    broken = make_scored(error="endpoint gone")
    step = build_step_batch([[*good, unscored], [broken]], open_algorithm(GroupRelativeConfig()))
    assert step.dropped == {"unscored": 1, "error": 1}
    assert [[r is None for r in rewards] for rewards in step.rewards] == [
        [False, False, True],
        [True],
    ]
    assert len(step.samples) == 2


def test_prompts_without_a_usable_rollout_do_not_count_in_the_mean() -> None:
    good = [make_scored(value=0.1), make_scored(value=0.9)]
    lost = [make_scored(error="endpoint gone")]
    algorithm = group_relative(GroupRelativeConfig())
    alone, beside = (build_step_batch(g, algorithm) for g in ([good], [lost, good, [], lost]))
    weights = [[sample.weights.tolist() for sample in step.samples] for step in (alone, beside)]
    assert weights[0] == weights[1]
    assert beside.prompts == 1


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1.7e308, -1e39, 1e10])
def test_a_reward_that_is_no_number_leaves_its_rollout_out_of_the_group(odd: float) -> None:
    group = [make_scored(value=value, trial=n) for n, value in enumerate((0.1, odd, 0.9))]
    step = build_step_batch([group], group_relative(GroupRelativeConfig()))
    assert step.dropped == {"reward": 1}
    assert [reward is None for reward in step.rewards[0]] == [False, True, False]
    values = sorted(float(sample.advantages[-1]) for sample in step.samples)
    assert values == pytest.approx([-(0.5**0.5), 0.5**0.5], rel=1e-4)


def test_prompts_whose_rollouts_all_earn_the_same_are_counted() -> None:
    equal = [make_scored(value=0.3), make_scored(value=0.1 + 0.2)]  # but for rounding
    differing = [make_scored(value=0.3), make_scored(value=0.4), make_scored(value=0.3)]
    groups = [equal, differing, differing, differing]
    step = build_step_batch(groups, group_relative(GroupRelativeConfig()))
    assert (step.prompts, step.zero_variance) == (4, 1)


@pytest.mark.parametrize("credit", ["rollout", "table", "key_steps"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e300])
def test_a_cell_that_is_no_number_leaves_its_rollout_out_and_no_other(
    credit: str, odd: float
) -> None:
    def found(value: float, cell: float) -> ScoredEpisode:
        subagent = make_agent(role="subagent", agent=1, prompt="find France")
        return make_scored(make_agent(), subagent, value=value, cells=make_cells("France", cell))

    algorithm = group_relative(GroupRelativeConfig(credit=credit))
    alone = build_step_batch([[found(0.1, 0.0), found(0.9, 1.0)]], algorithm)
    beside = build_step_batch([[found(0.1, 0.0), found(0.5, odd), found(0.9, 1.0)]], algorithm)
    assert (beside.dropped, beside.masked) == ({"unscored": 1}, {})
    values = [[float(s.advantages[-1]) for s in step.samples] for step in (alone, beside)]
    assert values[0] == values[1]
    assert any(values[0])


def test_rewards_too_large_to_add_up_end_no_run() -> None:
    group = [make_scored(value=value) for value in (1.7e308, 1.7e308, -1.7e308)]
    step = build_step_batch([group], group_relative(GroupRelativeConfig()))
    assert (step.dropped, step.samples) == ({"reward": 3}, [])


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e39])
def test_an_advantage_that_is_no_number_leaves_its_turns_out(value: float) -> None:
    def odd(group: Sequence[ScoredEpisode], rewards: Sequence[float]) -> list[list[float]]:
        return [[value], [0.5]]

    step = build_step_batch([[make_scored(), make_scored()]], TurnAlgorithm(TurnsConfig(), odd))
    assert step.masked == {"credit": 1}
    assert [float(sample.advantages[-1]) for sample in step.samples] == [0.5]


def test_a_policy_without_token_ids_can_not_train() -> None:
    spoken = make_scored(make_agent(make_turn((), (), response_tokens=7)))
    with pytest.raises(TrainError, match="of 1 response none has token ids"):
        build_step_batch([[spoken]], group_relative(GroupRelativeConfig()))
    silent = make_scored(make_agent(make_turn((), ())))
    assert build_step_batch([[silent]], group_relative(GroupRelativeConfig())).samples == []
    mixed = build_step_batch([[spoken, make_scored()]], group_relative(GroupRelativeConfig()))
    assert (len(mixed.samples), mixed.masked["turns"]) == (1, 1)


@pytest.mark.parametrize("rewards", [(0.3, 0.1 + 0.2), (1.0, 1.0, 1.0), (0.7,)])
def test_rewards_that_are_equal_but_for_rounding_give_no_advantage(
    rewards: tuple[float, ...],
) -> None:
    assert advantages(rewards, AdvantageConfig()) == [0.0] * len(rewards)


def test_token_weighting_counts_every_token_of_the_step_alike() -> None:
    long = make_scored(make_agent(make_turn([1], [2, 3, 4])), value=1.0)
    short = make_scored(make_agent(make_turn([1], [5])), value=0.0)
    step = build_step_batch([[long, short]], group_relative(GroupRelativeConfig(weighting="token")))
    assert [float(sample.weights[-1]) for sample in step.samples] == [0.25, 0.25]


@pytest.mark.parametrize("weighting", ["token", "rollout", "agent", ("group", "turn_tokens")])
def test_tokens_without_a_log_probability_do_not_count_in_the_weights(weighting: Any) -> None:
    def step(length: int, masked: int) -> StepBatch:
        turn = make_turn([1], [5] * length)
        odd = replace(
            turn, logprobs=(*turn.logprobs[masked:], *[math.nan, -1e30, -math.inf][:masked])
        )
        group = [make_scored(make_agent(odd), value=0.1), make_scored(value=0.9)]
        return build_step_batch([group], group_relative(GroupRelativeConfig(weighting=weighting)))

    def weights(batch: StepBatch) -> list[list[float]]:
        return [[w for w in sample.weights.tolist() if w] for sample in batch.samples]

    assert weights(step(7, 3)) == weights(step(4, 0))


def test_all_agents_of_a_rollout_share_its_advantage() -> None:
    subs = [make_agent(role="subagent", agent=n) for n in (1, 2)]
    group = [make_scored(make_agent(), *subs, value=1.0), make_scored(value=0.0)]
    algorithm = group_relative(GroupRelativeConfig())
    credit = credit_of(algorithm, group)
    assert len({turn.advantage for agent in credit[:3] for turn in agent}) == 1
    assert credit[3][0].advantage == pytest.approx(-credit[0][0].advantage)


@pytest.mark.parametrize(("selection", "earlier"), [("outcome", 0.25), ("all", 0.0)])
def test_blaming_the_last_turn_alone_favours_earlier_turns(
    selection: SelectionName, earlier: float
) -> None:
    # Two rollouts of two turns of equal length; one ends with an answer of the right form.
    agent = make_agent(make_turn([1], [2, 3, 4]), make_turn([1, 2, 3, 4], [5, 6, 7]))
    group = [make_scored(agent, value=0.9), make_scored(agent, value=0.0, valid=False)]
    config = GroupRelativeConfig(advantage=AdvantageConfig(std="none"), selection=selection)
    algorithm = group_relative(config)
    credit = credit_of(algorithm, group)
    first, last = (
        sum(t.weight * t.advantage * 3 for turns in credit for t in turns if t.turn == turn)
        for turn in agent.turns
    )
    advantage = 0.5  # of rewards 1 and 0
    assert first == pytest.approx(earlier * advantage)
    assert last == pytest.approx(-first)


def test_a_selection_can_be_any_function() -> None:
    group = [make_scored(value=1.0), make_scored(value=0.0)]
    algorithm = group_relative(GroupRelativeConfig(), selection=lambda _: [[False]])
    assert algorithm.credit(group, [1.0, 0.0]) == []


def test_rejection_sampling_imitates_the_best_rollouts_alone() -> None:
    group = [make_scored(value=value) for value in (0.9, 0.2, 0.9)]
    algorithm = best_of_group(BestOfGroupConfig())
    credit = credit_of(algorithm, group)
    assert [agent[0].advantage for agent in credit] == [1.0, 0.0, 1.0]
    poor = [make_scored(value=0.1), make_scored(value=0.0)]
    assert {a[0].advantage for a in credit_of(algorithm, poor)} == {0.0}
    equal = [make_scored(value=value) for value in (0.3, 0.1 + 0.2, 0.2)]  # but for rounding
    for least in (0.4, 0.4 + 1e-12):  # 0.1 are for the form
        algorithm = best_of_group(BestOfGroupConfig(min_reward=least))
        assert [a[0].advantage for a in credit_of(algorithm, equal)] == [1.0, 1.0, 0.0]


def test_a_rollout_without_trained_turns_still_counts_in_its_group() -> None:
    lost = make_scored(make_agent(status=Status.ERROR), valid=False)
    group = [make_scored(make_agent(make_turn([1], [2])), value=1.0), lost]
    (sample,) = build_step_batch([group], group_relative(GroupRelativeConfig())).samples
    assert float(sample.weights[-1]) == 0.5


def test_agents_whose_model_is_fixed_are_not_trained_and_weigh_nothing() -> None:
    def rollout(value: float, *, with_fixed: bool) -> ScoredEpisode:
        fixed = replace(make_agent(make_turn(), role="subagent", agent=1), trained=False)
        silent = replace(fixed, agent=2, turns=(replace(make_turn(), response_ids=()),))
        others = (fixed, silent) if with_fixed else ()
        return make_scored(make_agent(make_turn()), *others, value=value)

    algorithm = group_relative(GroupRelativeConfig(selection="all"))
    mixed, alone = (
        build_step_batch([[rollout(v, with_fixed=with_fixed) for v in (0.0, 1.0)]], algorithm)
        for with_fixed in (True, False)
    )
    assert repr(mixed.samples) == repr(alone.samples)
    assert not mixed.masked, "a turn without ids that is not trained is nothing odd"


ONE_ALONE = [
    {},
    {"credit": "table"},
    {"credit": "key_steps"},
    {"equal_groups": "drop"},
    {"advantage": {"baseline": "leave_one_out"}},
    {"advantage": {"pool": "role", "unit": "turn"}},
    {"advantage": {"pool": "agent", "unit": "trajectory", "std": "none"}},
]


@pytest.mark.parametrize("algorithm", ONE_ALONE)
def test_one_rollout_has_nothing_to_be_compared_with_and_is_refused(
    algorithm: dict[str, Any],
) -> None:
    config = GroupRelativeConfig.model_validate(algorithm)
    subagents = [make_agent(make_turn([1], [2]), role="subagent", agent=n) for n in (1, 2)]
    group = [make_scored(make_agent(make_turn([1], [2])), *subagents, value=0.7)]
    trained = group_relative(config).credit(group, [0.7]) or []
    assert {turn.advantage for turns in trained for turn in turns} <= {0.0}
    values = {"algorithm": {"kind": "group_relative", **algorithm}, "group_size": 1}
    with pytest.raises(ValidationError, match=r"group_size=1 leaves a rollout nothing to be comp"):
        RLConfig.model_validate(values)
    RLConfig.model_validate(values | {"group_size": 2})


def test_one_rollout_can_be_imitated() -> None:
    values = {"algorithm": {"kind": "best_of_group"}, "group_size": 1}
    assert RLConfig.model_validate(values).group_size == 1
    group = [make_scored(value=0.7)]
    ((turn,),) = best_of_group(BestOfGroupConfig()).credit(group, [0.7]) or []
    assert turn.advantage == 1
