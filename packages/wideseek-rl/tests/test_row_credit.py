from collections.abc import Sequence

import pytest

from wideseek_core import Trajectory
from wideseek_rl import AdvantageConfig, GroupRelative, GroupRelativeConfig
from wideseek_rl.row_credit import named_rows, row_advantages, row_scores
from wideseek_rl.scored import ScoredEpisode
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
    return make_scored(*team(*(prompts or ("Rome: area", "Oslo: area"))), cells=cells)


def credits(group: Sequence[ScoredEpisode], outcome: Sequence[float]) -> list[list[float]]:
    return row_advantages(group, outcome, PLAIN)


def test_a_row_scores_its_cells_beside_the_key_and_a_missing_row_scores_nothing() -> None:
    cells = [*make_cells("Rome", 1.0, 0.0), *make_cells("Bare")]
    scored = make_scored(cells=cells, missing=["Oslo"])
    assert row_scores(scored) == {"Rome": 0.5, "Bare": 1.0, "Oslo": 0.0}


def test_subagents_answer_for_their_rows_whatever_became_of_the_others() -> None:
    group = [rollout(1.0, 0.0), rollout(0.0, 0.0), rollout(0.5, 1.0)]
    thirds = [pytest.approx(value) for value in (-1 / 3, -1 / 3, 2 / 3)]
    assert credits(group, [7.0, 8.0, 9.0]) == [
        [7.0, 0.5, thirds[0]],
        [8.0, -0.5, thirds[1]],
        [9.0, 0.0, thirds[2]],
    ]


def test_agents_without_rows_share_the_outcome() -> None:
    group = [rollout(1.0, 1.0, "List the capitals"), rollout(0.0, 0.0, "List the capitals")]
    assert credits(group, [0.3, -0.3]) == [[0.3, 0.3], [-0.3, -0.3]]


def test_rows_that_one_rollout_alone_was_sent_for_share_the_outcome() -> None:
    group = [rollout(1.0, 1.0, "Rome: area"), rollout(0.0, 0.0, "Oslo: area")]
    assert credits(group, [0.3, -0.3]) == [[0.3, 0.3], [-0.3, -0.3]]


def test_subagents_with_the_same_rows_are_compared_once_for_each_rollout() -> None:
    # Were both subagents of the first rollout counted, the mean would be 2/3.
    group = [rollout(1.0, 0.0, "Rome: area", "Rome: again"), rollout(0.0, 0.0, "Rome: area")]
    assert credits(group, [9.0, 9.0]) == [[9.0, 0.5, 0.5], [9.0, -0.5]]


def test_several_rows_of_one_subagent_count_by_their_mean() -> None:
    both = "Rome and Oslo: area"
    group = [rollout(1.0, 0.0, both), rollout(0.0, 0.0, both)]
    assert credits(group, [9.0, 9.0]) == [[9.0, 0.25], [9.0, -0.25]]


def test_a_rollout_without_a_table_is_no_row_of_a_comparison() -> None:
    failed = make_scored(*team("Rome: area", "Oslo: area"), valid=False, value=0.0)
    group = [rollout(1.0, 1.0), rollout(0.0, 1.0), failed]
    assert credits(group, [1.0, 2.0, -3.0]) == [[1.0, 0.5, 0.0], [2.0, -0.5, 0.0], [-3.0] * 3]


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
    for credit, shown in (("rollout", [9.0, 9.0, 9.0]), ("rows", [9.0, 0.5, 0.0])):
        config = GroupRelativeConfig.model_validate({"credit": credit, "advantage": PLAIN})
        algorithm = GroupRelative(config)
        turns = [agent[0].advantage for agent in algorithm.credit(group, [18.0, 0.0])[:3]]
        assert turns == [pytest.approx(value) for value in shown]
