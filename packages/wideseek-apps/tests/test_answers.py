"""How an answer is shown, and when it counts as supported."""

import csv
import io
import json

import pytest

from wideseek_agents import ToolAnswered
from wideseek_apps.answers import Detail, answer_text, view_answer
from wideseek_apps.evidence import Evidence
from wideseek_core import Document, Episode, Finish, Status, Trajectory, Turn, Usage
from wideseek_core.search import Page

TABLE = "```markdown\n| Element | Symbol |\n| --- | --- |\n| Mercury | {} |\n```"


def ended(answer: str, status: Status = Status.FINISHED) -> Episode:
    main = Trajectory(agent=0, role="lead", status=status, turns=(), answer=answer)
    helper = Trajectory(
        agent=1, role="subagent", status=Status.FINISHED, turns=(), prompt="look it up", parent=0
    )
    usage = (Usage(role="lead", model="m", requests=2, prompt_tokens=9, response_tokens=3),)
    return Episode(task_id="q", trial=0, trajectories=(main, helper), answer=answer, usage=usage)


@pytest.fixture
def evidence() -> Evidence:
    """Agent 1 opened one page; agents 1 and 2 saw one search result."""
    found = Evidence()
    page = Page(url="x:Mercury", text="A planet, too.\nMercury has the symbol Hg. It is liquid.")
    found.add_page(page, "x:mercury")
    found.add_extract(Document(url="x:Zinc", title="Zinc", text="Zinc has the symbol Zn."))
    for agent, request in ((1, "x:mercury"), (1, "zinc"), (2, "zinc")):
        url = "x:Zinc" if request == "zinc" else request
        found.add_reader(
            ToolAnswered(agent=agent, tool="t", request=request, ok=True, seconds=0.0, urls=(url,))
        )
    return found


def shown(answer: str, evidence: Evidence, detail: Detail = "pages", *, width: int = 10_000) -> str:
    return answer_text(view_answer(ended(answer), evidence, "table"), "table", detail, width)


def test_a_table_of_values_that_were_read_is_supported(evidence: Evidence) -> None:
    assert view_answer(ended(TABLE.format("Hg")), evidence, "table").supported
    text = shown(TABLE.format("Hg"), evidence)
    assert "unsupported" not in text
    assert text.endswith("Sources\n  1. x:Mercury")


def test_a_value_that_nobody_read_is_marked(evidence: Evidence) -> None:
    assert not view_answer(ended(TABLE.format("7439-97-6")), evidence, "table").supported
    text = shown(TABLE.format("7439-97-6"), evidence)
    assert "7439-97-6 ?" in text
    assert "Mercury ?" not in text
    assert "? unsupported: in nothing that the agents read" in text


def test_a_short_answer_is_marked_too(evidence: Evidence) -> None:
    assert view_answer(ended(r"\boxed{Hg}"), evidence, "text").supported
    view = view_answer(ended(r"\boxed{South America}"), evidence, "text")
    assert answer_text(view, "table", "rows").startswith("South America ?\n")
    assert not view.supported


@pytest.mark.parametrize("nothing", ["unknown", "Unknown.", "n/a", "-", "not found"])
def test_an_answer_that_states_nothing_is_no_answer(nothing: str, evidence: Evidence) -> None:
    short = view_answer(ended(rf"\boxed{{{nothing}}}"), evidence, "text")
    assert answer_text(short, "table", "rows").startswith("No short answer. The agent wrote:")
    assert not short.supported
    table = view_answer(ended(TABLE.format(nothing)), evidence, "table")
    assert not table.supported
    assert "unsupported" not in answer_text(table, "table", "rows")


@pytest.mark.parametrize(
    ("answer", "beginning"),
    [
        (r"\boxed{Hg}", "No table. The agent wrote:\n\\boxed{Hg}"),
        ("| Element |\n| --- |", "No table. The agent wrote:\n| Element |"),
        ("", "No table."),
    ],
)
def test_an_answer_of_another_form_is_no_answer(
    answer: str, beginning: str, evidence: Evidence
) -> None:
    assert shown(answer, evidence).startswith(beginning)
    assert not view_answer(ended(answer), evidence, "table").supported


@pytest.mark.parametrize("status", [Status.CONTEXT_OVERFLOW, Status.TURN_LIMIT, Status.REPETITION])
def test_an_agent_that_did_not_finish_gives_no_supported_answer(
    status: Status, evidence: Evidence
) -> None:
    assert not view_answer(ended(TABLE.format("Hg"), status), evidence, "table").supported
    view = view_answer(ended("", status), evidence, "table")
    text = answer_text(view, "table", "rows")
    assert text.startswith(f"No answer: the agent ended with {status}.")
    assert not view.supported


def test_a_table_that_was_cut_off_is_shown_with_a_warning(evidence: Evidence) -> None:
    turn = Turn(text=f"<think>hm</think>{TABLE.format('Hg')}\nThe tab", finish=Finish.LENGTH)
    main = Trajectory(agent=0, role="lead", status=Status.TURN_CUT, turns=(turn,))
    episode = Episode(task_id="question", trial=0, trajectories=(main,))
    view = view_answer(episode, evidence, "table")
    text = answer_text(view, "table", "rows")
    assert "Hg" in text
    assert "! the response was cut off" in text
    assert not view.supported


@pytest.mark.parametrize("finish", [Finish.TRIMMED, Finish.STOP])
def test_an_answer_whose_repeats_were_removed_says_so(evidence: Evidence, finish: Finish) -> None:
    answer = TABLE.format("Hg")
    turn = Turn(text=f"<think>hm</think>{answer}", finish=finish)
    main = Trajectory(agent=0, role="lead", status=Status.FINISHED, turns=(turn,))
    for kept in (answer, answer.replace("Hg", "Mercury")):  # a draft that was better
        episode = Episode(task_id="question", trial=0, trajectories=(main,), answer=kept)
        view = view_answer(episode, evidence, "table")
        trimmed = finish is Finish.TRIMMED and kept == answer
        assert (
            "! the model began to repeat itself" in answer_text(view, "table", "rows")
        ) == trimmed
        assert json.loads(answer_text(view, "json", "rows"))["trimmed"] == trimmed


def test_each_row_names_the_page_the_agents_and_the_passage(evidence: Evidence) -> None:
    answer = TABLE.format("Hg").replace("\n```", "\n| Zinc | Zn |\n| Lead | Pb |\n```")
    lines = shown(answer, evidence, "rows").splitlines()
    start = lines.index("Where the values are from")
    assert lines[start + 1 : start + 3] == [
        '  Mercury: [1] agent 1: "Mercury has the symbol Hg."',
        '  Zinc: [2] agents 1, 2, search result: "Zinc has the symbol Zn."',
    ]
    assert lines[-2:] == ["  1. x:Mercury", "  2. x:Zinc"]


def test_each_cell_names_its_source_if_that_is_wanted(evidence: Evidence) -> None:
    answer = "| Element | Symbol | State |\n|---|---|---|\n| Mercury | Hg | liquid |"
    text = shown(answer, evidence, "cells")
    assert '  Mercury, Symbol Hg: [1] agent 1: "Mercury has the symbol Hg."' in text
    assert '  Mercury, State liquid: [1] agent 1: "It is liquid."' in text
    assert shown(answer, evidence, "rows").count("[1]") == 1
    assert "[1]" not in shown(answer, evidence, "pages")


def test_nothing_is_wider_than_the_terminal_except_addresses(evidence: Evidence) -> None:
    long = "水银 " * 60 + "Quecksilber is Mercury in German. " + "more " * 60
    evidence.add_page(Page(url="x:G", text=long))
    text = shown(TABLE.format("Quecksilber"), evidence, "rows", width=40)
    assert "Quecksilber" in text.split("Where the values are from")[1]
    assert all(len(line) <= 40 for line in text.splitlines())


def test_the_text_around_the_table_is_kept(evidence: Evidence) -> None:
    text = shown(f"I looked at two pages.\n\n{TABLE.format('Hg')}\n\nNo more exist.", evidence)
    assert text.startswith("I looked at two pages.\n\n┏")
    assert "┘\n\nNo more exist.\n" in text
    assert "```" not in text


def test_control_characters_of_models_and_pages_reach_no_terminal(evidence: Evidence) -> None:
    evidence.add_page(Page(url="x:\x1b[2J", text="Mercury \x1b]0;title\x07 has Qx."))
    text = shown(f"\x1b[31mred\n{TABLE.format('Qx')}", evidence, "cells")
    assert "\x1b" not in text
    assert "\x07" not in text


def test_markdown_and_csv_hold_the_values_alone(evidence: Evidence) -> None:
    view = view_answer(ended(TABLE.format('a, "b" \\| c')), evidence, "table")
    markdown = '| Element | Symbol |\n| --- | --- |\n| Mercury | a, "b" \\| c |'
    assert answer_text(view, "markdown", "rows") == markdown
    rows = list(csv.reader(io.StringIO(answer_text(view, "csv", "rows"))))
    assert rows == [["Element", "Symbol"], ["Mercury", 'a, "b" | c']]


def test_json_holds_everything(evidence: Evidence) -> None:
    view = view_answer(ended(f"Before\n{TABLE.format('Hg')}"), evidence, "table", "Which?")
    value = json.loads(answer_text(view, "json", "rows"))
    assert (value["question"], value["supported"], value["before"]) == ("Which?", True, "Before")
    assert value["rows"][0][1] == {
        "column": "Symbol",
        "value": "Hg",
        "support": "page",
        "source": {
            "url": "x:Mercury",
            "passage": "Mercury has the symbol Hg.",
            "agents": [{"agent": 1, "prompt": "look it up"}],
            "opened": True,
        },
    }
    assert value["usage"][0]["prompt_tokens"] == 9


def test_pages_of_earlier_questions_support_a_follow_up(evidence: Evidence) -> None:
    evidence.begin_question()
    text = shown(TABLE.format("Hg"), evidence, "rows")
    assert '  Mercury: [1]: "Mercury has the symbol Hg."' in text
    assert evidence.opened == ()


def test_a_narrow_terminal_leaves_nothing_of_a_cell_out(evidence: Evidence) -> None:
    address = "https://example.org/" + "a" * 60
    answer = (
        f"| Moon | Discoverer | Page |\n|---|---|---|\n| Triton | William Lassell | {address} |"
    )
    text = shown(answer, evidence, "pages", width=40)
    table = text[: text.index("unsupported")]
    assert "…" not in table
    assert sum(line.count("a") for line in table.splitlines() if "│" in line) >= 60
    assert max(map(len, table.splitlines())) <= 80
    assert address in shown(answer, evidence, "pages", width=200)


def test_rows_of_several_lines_are_parted(evidence: Evidence) -> None:
    answer = "| A | B |\n|---|---|\n" + "| some words | more words |\n" * 2
    assert "├" in shown(answer, evidence, "pages", width=16)
    assert "├" not in shown(answer, evidence, "pages", width=80)
