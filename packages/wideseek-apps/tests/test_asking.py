"""How an answer is shown, and when it counts as supported."""

import pytest

from wideseek_apps.ask_config import AskConfig, check_ask
from wideseek_apps.asking import render
from wideseek_apps.evidence import Evidence
from wideseek_core import ConfigError, Episode, Status, Trajectory, load_config
from wideseek_core.search import Page

TABLE = "```markdown\n| Element | Symbol |\n| --- | --- |\n| Mercury | {} |\n```"


def ended(answer: str, status: Status = Status.FINISHED) -> Episode:
    main = Trajectory(agent=0, role="lead", status=status, turns=(), answer=answer)
    return Episode(task_id="question", trial=0, trajectories=(main,), answer=answer)


@pytest.fixture
def evidence() -> Evidence:
    found = Evidence()
    found.add_page(Page(url="x:Mercury", text="Mercury has the symbol Hg."))
    return found


def test_a_table_of_values_that_were_read_is_supported(evidence: Evidence) -> None:
    answered = render(ended(TABLE.format("Hg")), evidence, "table")
    assert answered.supported
    assert "unsupported" not in answered.text
    assert answered.text.endswith("Sources\n  1. x:Mercury")


def test_a_value_that_nobody_read_is_marked(evidence: Evidence) -> None:
    answered = render(ended(TABLE.format("7439-97-6")), evidence, "table")
    assert not answered.supported
    assert "7439-97-6 ?" in answered.text
    assert "Mercury ?" not in answered.text
    assert "? unsupported: in nothing that the agents read" in answered.text


def test_a_short_answer_is_marked_too(evidence: Evidence) -> None:
    assert render(ended(r"\boxed{Hg}"), evidence, "text").supported
    answered = render(ended(r"\boxed{South America}"), evidence, "text")
    assert answered.text.startswith("South America ?\n")
    assert not answered.supported


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (r"\boxed{Hg}", "No table. The agent wrote:\n\\boxed{Hg}"),
        ("| Element |\n| --- |", "No table. The agent wrote:\n| Element |"),
        ("", "No table."),
    ],
)
def test_an_answer_of_another_form_is_no_answer(
    answer: str, shown: str, evidence: Evidence
) -> None:
    answered = render(ended(answer), evidence, "table")
    assert answered.text.startswith(shown)
    assert not answered.supported


@pytest.mark.parametrize("status", [Status.CONTEXT_OVERFLOW, Status.TURN_LIMIT, Status.REPETITION])
def test_an_agent_that_did_not_finish_gives_no_supported_answer(
    status: Status, evidence: Evidence
) -> None:
    assert not render(ended(TABLE.format("Hg"), status), evidence, "table").supported
    answered = render(ended("", status), evidence, "table")
    assert answered.text.startswith(f"No answer: the agent ended with {status}.")
    assert not answered.supported


def test_a_question_is_wanted() -> None:
    with pytest.raises(ConfigError, match="no question"):
        check_ask(load_config(AskConfig, [], sentence="question"))
