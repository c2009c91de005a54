from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from wideseek_core import CellScore, Episode, Score, TableMetrics, ToolResult, Trajectory, Turn
from wideseek_rl import GroupRelativeConfig, ScoredEpisode, group_relative
from wideseek_rl.algorithm.key_steps import key_steps
from wideseek_rl.testing import make_agent, make_scored, make_turn


def saw(*texts: str, ok: bool = True) -> Turn:
    """A turn whose tools answered so."""
    results = tuple(ToolResult(request="q", text=text, ok=ok) for text in texts)
    return replace(make_turn(), results=results)


def found(answer: str, score: float = 1.0) -> CellScore:
    return CellScore(key="k", column="c", answer=answer, gold="g", score=score, by="exact")


def rollout(*agents: Trajectory, right: Sequence[str] = ("Oslo", "634,293")) -> ScoredEpisode:
    return make_scored(*agents, value=0.9, cells=[*map(found, right), found("Bergen", 0.0)])


def test_turns_that_first_show_a_right_value_are_key_steps() -> None:
    agent = make_agent(
        saw("nothing of use, Bergen even"),
        saw("The capital is OSLO."),
        saw("Oslo again"),
        saw("population 634,293 (2013)"),
        make_turn(),
    )
    assert key_steps(rollout(agent)) == [[False, True, False, True, True]]


def test_values_are_found_as_whole_words_of_results_that_are_no_errors() -> None:
    agent = make_agent(saw("Oslofjord"), saw("Oslo", ok=False), saw("in 北京市"), make_turn())
    assert key_steps(rollout(agent, right=["Oslo", "北京", "3"])) == [[False, False, True, True]]


def test_values_without_words_are_found_nowhere() -> None:
    agent = make_agent(saw("Paris"), saw("Oslo"), make_turn())
    assert key_steps(rollout(agent, right=["--", "5 %", "Oslo"])) == [[False, True, True]]


def test_reports_and_the_delegation_of_them_are_key_steps() -> None:
    lead = make_agent(saw("report: no idea"), saw("report: Oslo"), make_turn())
    good = make_agent(saw("Oslo"), make_turn(), role="subagent", agent=1)
    poor = make_agent(saw("Paris"), make_turn(), role="subagent", agent=2)
    steps = key_steps(rollout(lead, good, poor))
    assert steps == [[False, True, True], [True, True], [False, False]]


def test_a_short_answer_is_a_value_if_it_is_right() -> None:
    agent = make_agent(saw("It is Oslo."), make_turn())
    right, wrong = (
        ScoredEpisode(
            episode=Episode(task_id="t", trial=0, trajectories=(agent,), answer="Oslo"),
            score=replace_value(value, cells=()),
        )
        for value in (1.0, 0.0)
    )
    assert (key_steps(right), key_steps(wrong)) == ([[True, True]], [[False, False]])


def test_praise_goes_to_key_steps_and_blame_to_the_others() -> None:
    agent = make_agent(saw("Paris"), saw("Oslo"), make_turn([1], [2]))
    best, worst = rollout(agent), replace(rollout(agent), score=replace_value(0.3))
    lost = make_scored(agent, value=0.0, valid=False)
    config = GroupRelativeConfig.model_validate(
        {"credit": "key_steps", "selection": "all", "advantage": {"std": "none"}}
    )
    credit = group_relative(config).credit([best, worst, lost], [1.0, 0.4, 0.1])
    assert credit is not None
    values = [[turn.advantage for turn in turns] for turns in credit]
    assert values == [
        pytest.approx([0, 0.5, 0.5]),
        pytest.approx([-0.1, 0, -0.1]),  # finding Oslo is no fault of the table
        pytest.approx([-0.4] * 3),  # nothing is known of a rollout without right values
    ]


def replace_value(value: float, **changes: Any) -> Score:
    changes["metrics"] = TableMetrics(item_f1=value)
    return rollout().score.model_copy(update=changes)
