from collections.abc import Sequence
from dataclasses import replace

import pytest

from wideseek_core import CellScore, Trajectory
from wideseek_rl import AdvantageConfig, CreditInputs, GroupRelativeConfig, group_relative
from wideseek_rl.algorithm.table_credit import named_rows, row_scores, table_credit
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.testing import make_agent, make_cells, make_scored

PLAIN = AdvantageConfig(std="none")


def team(*prompts: str) -> list[Trajectory]:
    subs = [
        make_agent(role="subagent", agent=at, prompt=prompt) for at, prompt in enumerate(prompts, 1)
    ]
    return [make_agent(prompt="List Rome and Oslo"), *subs]


def rollout(rome: float, oslo: float, *prompts: str) -> ScoredEpisode:
    """A rollout with these scores of two rows, of a team sent for them."""
    cells = [*make_cells("Rome", rome), *make_cells("Oslo", oslo)]
    agents = team(*(prompts or ("Rome: area", "Oslo: area")))
    return make_scored(*agents, value=(2 + rome + oslo) / 4, cells=cells)


def credits(group: Sequence[ScoredEpisode], score_weight: float = 1.0) -> list[list[float]]:
    """The advantages if the weighted score is all of the reward."""
    rewards = [score_weight * scored.score.value if scored.answered else 0.0 for scored in group]
    return table_credit(
        CreditInputs(group=group, rewards=rewards, advantage=PLAIN, score_weight=score_weight)
    )


def test_a_row_scores_its_cells_beside_the_key_and_a_missing_row_scores_nothing() -> None:
    cells = [*make_cells("Rome", 1.0, 0.0), *make_cells("Bare")]
    scored = make_scored(cells=cells, missing=["Oslo"])
    assert row_scores(scored) == {"Rome": 0.5, "Bare": 1.0, "Oslo": 0.0}


def test_subagents_answer_for_their_rows_whatever_became_of_the_others() -> None:
    group = [rollout(1.0, 0.0), rollout(0.0, 0.0), rollout(0.5, 1.0)]
    thirds = [pytest.approx(value) for value in (-1 / 3, -1 / 3, 2 / 3)]
    shown = [agents[1:] for agents in credits(group)]
    assert shown == [[0.5, thirds[0]], [-0.5, thirds[1]], [0.0, thirds[2]]]


def test_the_lead_gets_nothing_for_what_its_subagents_found() -> None:
    group = [rollout(0.1, 1.0), rollout(0.3, 0.7), rollout(0.8, 0.9)]
    assert [agents[0] for agents in credits(group)] == [0.0] * 3


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_the_delegated_effect_counts_as_much_as_the_score_in_the_reward(weight: float) -> None:
    group = [rollout(0.1, 1.0), rollout(0.3, 0.7), rollout(0.8, 0.9)]
    assert [agents[0] for agents in credits(group, weight)] == [0.0] * 3


def test_an_answer_of_the_wrong_form_earned_nothing_by_its_cells() -> None:
    right, wrong = rollout(1.0, 1.0), rollout(0.0, 0.0)
    wrong = replace(wrong, score=wrong.score.model_copy(update={"format_valid": False}))
    # The wrong one's cells are in no mean, so the right one's are exactly average.
    assert [agents[0] for agents in credits([right, wrong])] == [0.5, -0.5]


def test_a_cell_of_several_metrics_counts_with_all_of_them() -> None:
    def scored_by(*scores: float) -> ScoredEpisode:
        cells = make_cells("Rome", *scores)
        same = tuple(replace_column(cell) if cell.by != "key" else cell for cell in cells)
        return make_scored(*team("Rome: area"), value=2 * (1 + sum(scores)) / 4, cells=same)

    def replace_column(cell: CellScore) -> CellScore:
        return cell.model_copy(update={"column": "area"})

    group = [scored_by(1.0, 1.0), scored_by(1.0, 0.0), scored_by(0.0, 0.0)]
    assert [agents[0] for agents in credits(group)] == [0.0] * 3


def test_the_lead_answers_for_the_rows_of_its_table() -> None:
    # Rome found, Oslo lost: 2 of 2 answered cells, of 4. Rome found, and an invented row.
    found = make_cells("Rome", 1.0)
    lost = make_scored(*team("Rome: area"), value=2 / 3, cells=found, missing=["Oslo"])
    more = make_scored(
        *team("Rome: area", "Oslo: area"),
        value=4 / 5,
        cells=[*found, *make_cells("Oslo", 1.0)],
        extra=["Atlantis"],
    )
    whole = rollout(0.0, 1.0)
    effect = {"lost": 2 / 6 * (1 - 2 / 3), "more": 2 / 10 * (1 - 2 / 3), "whole": 2 / 8 * (-2 / 3)}
    remaining = [2 / 3 - effect["lost"], 4 / 5 - effect["more"], 3 / 4 - effect["whole"]]
    mean = sum(remaining) / 3
    shown = [agents[0] for agents in credits([lost, more, whole])]
    assert shown == [pytest.approx(value - mean) for value in remaining]
    # Its item F1 if Rome had scored its mean, 2/3, in all three.
    assert remaining[0] == pytest.approx(2 * (1 + 2 / 3) / (2 + 4))
    assert remaining[2] == pytest.approx(2 * (3 + 2 / 3) / (4 + 4))


def test_without_subagents_for_rows_all_agents_share_the_outcome() -> None:
    group = [rollout(1.0, 1.0, "List the capitals"), rollout(0.0, 0.0, "List the capitals")]
    assert credits(group) == [[0.25, 0.25], [-0.25, -0.25]]
    alone = [make_scored(cells=make_cells("Rome", one), value=one) for one in (1.0, 0.0)]
    assert credits(alone) == [[0.5], [-0.5]]


def test_rows_that_one_rollout_alone_was_sent_for_share_the_outcome() -> None:
    group = [rollout(1.0, 0.0, "Rome: area"), rollout(1.0, 1.0, "Oslo: area")]
    assert credits(group) == [[-0.125, -0.125], [0.125, 0.125]]


def test_subagents_with_the_same_rows_are_compared_once_for_each_rollout() -> None:
    # Were both subagents of the first rollout counted, the mean would be 2/3.
    group = [rollout(1.0, 0.0, "Rome: area", "Rome: again"), rollout(0.0, 0.0, "Rome: area")]
    assert [agents[1:] for agents in credits(group)] == [[0.5, 0.5], [-0.5]]


def test_several_rows_of_one_subagent_count_by_their_mean() -> None:
    both = "Rome and Oslo: area"
    group = [rollout(1.0, 0.0, both), rollout(0.0, 0.0, both)]
    assert [agents[1] for agents in credits(group)] == [0.25, -0.25]


def test_a_rollout_without_a_table_is_no_row_of_a_comparison() -> None:
    failed = make_scored(*team("Rome: area", "Oslo: area"), valid=False, value=0.0)
    shown = credits([rollout(1.0, 1.0), rollout(0.0, 1.0), failed])
    assert [agents[1:] for agents in shown[:2]] == [[0.5, 0.0], [-0.5, 0.0]]
    # The tables are alike but for what the subagents found: 0.875 each, without that effect.
    thirds = [pytest.approx(0.875 * part) for part in (1 / 3, 1 / 3, -2 / 3)]
    assert [agents[0] for agents in shown] == thirds
    assert shown[2] == [thirds[2]] * 3


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("rome: Area", ["Rome"]),
        ("Romea: area", []),
        ("New York: area", ["New York"]),
        ("York and New York: area", ["York", "New York"]),
        ("What is the area of York?", ["York"]),
        ("C++: area", ["C++"]),
        ("C: area", ["C"]),
        ("Smith, born 1950: area", ["Smith | 1950"]),
        ("Smith: area", []),
    ],
)
def test_a_subtask_names_rows_by_whole_keys(prompt: str, named: list[str]) -> None:
    keys = ["Rome", "York", "New York", "C", "C++", "Smith | 1950"]
    assert named_rows(prompt, keys) == frozenset(named)


def test_the_configured_credit_reaches_the_turns() -> None:
    group = [rollout(1.0, 0.0), rollout(0.0, 0.0)]
    for credit, shown in (("rollout", [9.0, 9.0, 9.0]), ("table", [8.875, 0.5, 0.0])):
        config = GroupRelativeConfig.model_validate({"credit": credit, "advantage": PLAIN})
        credited = group_relative(config).credit(group, [18.0, 0.0])
        assert credited is not None
        turns = [agent[0].advantage for agent in credited[:3]]
        assert turns == [pytest.approx(value) for value in shown]


def test_agents_that_have_no_rows_are_compared_within_their_pool() -> None:
    # Explorers name no row. Two rollouts have one, whose rewards are 1 and 0; a third has none.
    group = [make_scored(*team("Look around")), make_scored(*team("Look around")), make_scored()]
    by_role = replace_pool("role")
    inputs = CreditInputs(group=group, rewards=[1.0, 0.0, 0.2], advantage=by_role, score_weight=1.0)
    first, second, third = table_credit(inputs)
    assert (first, second) == (pytest.approx([0.6, 0.5]), pytest.approx([-0.4, -0.5]))
    assert third == pytest.approx([-0.2])


def replace_pool(pool: str) -> AdvantageConfig:
    return AdvantageConfig.model_validate({"std": "none", "pool": pool})
