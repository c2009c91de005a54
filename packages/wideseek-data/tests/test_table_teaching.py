"""The teacher turn by turn, its subtasks, layouts and invented tables."""

import json
from collections import Counter
from typing import Any

import pytest

from wideseek_core import Message, ToolSpec
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe
from wideseek_data.teaching.acting import parent
from wideseek_data.teaching.conversations import Demonstration, demonstrated
from wideseek_data.teaching.invented_tables import InventedTables, invent_tables
from wideseek_data.teaching.subtasks import Facts, KeyList, batches, stages
from wideseek_data.teaching.table_layouts import Layout, laid_out
from wideseek_data.teaching.table_teacher import REFUSAL, TableTeacher, TeacherLimits

from .moons import BASE, moon_pages, moons

TABLE = moons()
TABLES = {TABLE.id: TABLE}
PLANS = list(make_tasks([TABLE], Amounts(wide_per_table=12, short_per_table=27), Counter()))
TEXTS = {page.url: page.text for page in moon_pages()}
LEAD = (ToolSpec(name="create_sub_agents", description="", parameters={}),)
MANY = (
    ToolSpec(name="search", description="", parameters={"queries": {}}),
    ToolSpec(name="access", description="", parameters={}),
)
ONE = (
    ToolSpec(name="search", description="", parameters={"query": {}}),
    ToolSpec(name="access", description="", parameters={}),
)


def plan_of(shape: str) -> PlannedTask:
    return next(plan for plan in PLANS if plan.recipe.shape == shape)


def call_of(turn: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the one call of a turn."""
    text = turn.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    body: dict[str, Any] = json.loads(text)
    return body["name"], body["arguments"]


class Dialog:
    """A conversation with the teacher."""

    def __init__(
        self,
        plan: PlannedTask,
        tools: tuple[ToolSpec, ...],
        text: str = "",
        limits: TeacherLimits | None = None,
    ) -> None:
        self.teacher = TableTeacher(PLANS, TABLES, limits)
        self.tools = tools
        self.messages = [Message(role="user", content=f"{plan.task.question}\n{text}")]

    def turn(self) -> str:
        said = self.teacher.respond(self.messages, self.tools)
        self.messages.append(Message(role="assistant", content=said))
        return said

    def result(self, text: str) -> str:
        self.messages.append(Message(role="tool", content=text))
        return self.turn()


def test_the_lead_lists_then_looks_up_then_answers() -> None:
    plan = plan_of("all")
    dialog = Dialog(plan, LEAD)
    name, listing = call_of(dialog.turn())
    assert name == "create_sub_agents"
    assert listing == {
        "sub_agents": [{"prompt": 'List every Moon in "Moons of Uranus" (Large moons)'}]
    }
    name, looking = call_of(dialog.result("; ".join(TABLE.cells("Moon"))))
    assert len(looking["sub_agents"]) == 2
    stage = stages(plan, TABLES)[0]
    reports = "\n".join(
        f"{row.cells[0]}: "
        + "; ".join(f"{name}: {row.cells[TABLE.names.index(name)]}" for name in stage.columns)
        for row in TABLE.rows
    )
    gold = plan.task.gold
    assert gold.kind == "table"
    assert dialog.result(reports) == f"```markdown\n{gold.text}\n```"


def test_the_lead_keeps_to_its_limits() -> None:
    limits = TeacherLimits(subagents_per_turn=3, rows_per_subagent=2)
    dialog = Dialog(plan_of("all"), LEAD, limits=limits)
    dialog.turn()
    _, first = call_of(dialog.result("; ".join(TABLE.cells("Moon"))))
    _, second = call_of(dialog.result("nothing"))
    assert [len(call["sub_agents"]) for call in (first, second)] == [3, 1]


def test_what_a_report_lacks_is_a_gap_and_a_missing_condition_leaves_the_row_out() -> None:
    plan = plan_of("all")
    dialog = Dialog(plan, LEAD)
    dialog.turn()
    dialog.result("; ".join(TABLE.cells("Moon")))
    answer = dialog.result("Ariel: Year: unknown")
    assert "| Ariel | -" in answer
    assert "1851" not in answer


def test_the_lead_refuses_what_was_not_found() -> None:
    for shape in ("all", "count"):
        plan = plan_of(shape)
        dialog = Dialog(plan, LEAD)
        dialog.turn()
        answer = dialog.result("unknown")
        assert answer.startswith(REFUSAL)
        assert answer.endswith("\\boxed{unknown}") == isinstance(plan.recipe, ShortRecipe)


def test_counts_are_shown_before_the_answer() -> None:
    plan = plan_of("count")
    gold = plan.task.gold
    assert gold.kind == "text"
    dialog = Dialog(plan, LEAD)
    dialog.turn()
    dialog.result("; ".join(TABLE.cells("Moon")))
    columns = stages(plan, TABLES)[0].columns
    answer = dialog.result(
        "\n".join(
            f"{row.cells[0]}: "
            + "; ".join(f"{name}: {row.cells[TABLE.names.index(name)]}" for name in columns)
            for row in TABLE.rows
        )
    )
    lines = answer.splitlines()
    assert lines[-1] == f"\\boxed{{{gold.answers[0]}}}"
    assert lines[-2].startswith(f"{gold.answers[0]}. ")


def test_a_subagent_lists_what_the_opened_page_names() -> None:
    listing = KeyList(table=TABLE)
    dialog = Dialog(plan_of("all"), MANY, f"Subtask: {listing.prompt}")
    assert call_of(dialog.turn()) == (
        "search",
        {"queries": [{"query": "Moons of Uranus Large moons"}]},
    )
    url = f"{BASE}#Large_moons"
    assert call_of(dialog.result(f"[1] {url}\nMoons")) == ("access", {"urls": [{"url": url}]})
    assert dialog.result(f"{url}\n{TEXTS[url]}") == "; ".join(TABLE.cells("Moon"))


def test_a_list_is_found_one_step_above_a_row_page() -> None:
    dialog = Dialog(plan_of("all"), MANY, f"Subtask: {KeyList(table=TABLE).prompt}")
    dialog.turn()
    turn = dialog.result(f"[1] {BASE}/Puck#Large_moons\nPuck is a moon.")
    assert call_of(turn) == ("access", {"urls": [{"url": f"{BASE}#Large_moons"}]})
    assert parent("https://x.example/a/b") == "https://x.example/a"


def test_a_subagent_searches_twice_and_then_says_that_it_knows_nothing() -> None:
    plan = plan_of("lookup")
    facts = stages(plan, TABLES)[0]
    wanted = Facts(table=TABLE, rows=facts.rows, columns=facts.columns)
    dialog = Dialog(plan, MANY, f"Subtask: {wanted.prompt}")
    queries = [call_of(dialog.turn()), call_of(dialog.result("no results"))]
    assert [name for name, _ in queries] == ["search", "search"]
    assert queries[0] != queries[1]
    report = dialog.result("no results")
    assert report.endswith(": unknown")


def test_a_value_that_the_opened_page_does_not_state_is_unknown() -> None:
    plan = plan_of("lookup")
    stage = stages(plan, TABLES)[0]
    facts = Facts(table=TABLE, rows=stage.rows, columns=stage.columns)
    url = TABLE.rows[facts.rows[0]].url
    dialog = Dialog(plan, MANY, f"Subtask: {facts.prompt}")
    dialog.turn()
    dialog.result(f"[1] {url}\nA moon.")
    assert dialog.result(f"{url}\nA page without facts.").endswith(": unknown")
    right = Dialog(plan, MANY, f"Subtask: {facts.prompt}")
    right.turn()
    right.result(f"[1] {url}\nA moon.")
    assert right.result(f"{url}\n{TEXTS[url]}").count("unknown") == 0


def test_the_single_agent_asks_for_one_thing_at_a_time() -> None:
    dialog = Dialog(plan_of("lookup"), ONE)
    name, arguments = call_of(dialog.turn())
    assert name == "search"
    assert list(arguments) == ["query"]
    stage = stages(plan_of("lookup"), TABLES)[0]
    url = TABLE.rows[stage.rows[0]].url
    assert call_of(dialog.result(f"[1] {url}\nA moon.")) == ("access", {"url": url})
    gold = plan_of("lookup").task.gold
    assert gold.kind == "text"
    assert dialog.result(f"{url}\n{TEXTS[url]}") == f"\\boxed{{{gold.answers[0]}}}"


def test_an_address_inside_a_longer_one_is_not_shown() -> None:
    plan = plan_of("lookup")
    stage = stages(plan, TABLES)[0]
    facts = Facts(table=TABLE, rows=stage.rows, columns=stage.columns)
    dialog = Dialog(plan, MANY, f"Subtask: {facts.prompt}")
    dialog.turn()
    name, _ = call_of(dialog.result(f"[1] {TABLE.rows[stage.rows[0]].url}_b\nAnother."))
    assert name == "search"


def test_of_a_table_on_one_page_the_list_brings_the_facts() -> None:
    table, pages = laid_out(TABLE, Layout.TABLE, "https://x.example")
    tables = {table.id: table}
    plan = plan_of("all")
    teacher = TableTeacher([plan], tables)
    prompt = KeyList(table=table).prompt
    messages = [Message(role="user", content=f"{plan.task.question}\nSubtask: {prompt}")]
    for text in (f"[1] {table.url}\nMoons", f"{table.url}\n{pages[0].text}"):
        messages.append(Message(role="assistant", content=teacher.respond(messages, MANY)))
        messages.append(Message(role="tool", content=text))
    report = teacher.respond(messages, MANY)
    assert len(report.splitlines()) == len(table.rows)
    assert report.startswith("Ariel: ")


def test_rows_are_handed_out_in_batches() -> None:
    assert batches([1, 2, 3, 4, 5], 2) == [(1, 2), (3, 4), (5,)]
    assert batches([], 2) == []


def test_demonstrations_keep_roles_and_texts() -> None:
    messages = [
        Message(role="system", content="s"),
        Message(role="user", content="q"),
        Message(role="assistant", content="a"),
    ]
    made = Demonstration(agent="lead", task="t", messages=demonstrated(messages))
    assert Demonstration.model_validate_json(made.model_dump_json()).chat() == messages


SETTINGS = InventedTables(
    amounts=Amounts(wide_per_table=6, short_per_table=9), max_rows=9, missing_share=0.0
)


@pytest.mark.parametrize("seed", range(6))
def test_invented_worlds_state_all_that_is_asked(seed: int) -> None:
    world = invent_tables(seed, SETTINGS)
    assert world == invent_tables(seed, SETTINGS)
    urls = {page.url for page in world.pages}
    assert world.plans
    assert len(world.tables) == 2
    assert all(set(plan.pages) <= urls for plan in world.plans)
    assert all(len(table.rows) <= 9 for table in world.tables.values())


def test_invented_worlds_differ_and_some_lack_pages() -> None:
    settings = InventedTables(amounts=SETTINGS.amounts, missing_share=1.0)
    worlds = [invent_tables(seed, settings) for seed in range(8)]
    titles = {table.title for world in worlds for table in world.tables.values()}
    assert len(titles) == 16
    lacking = [
        world
        for world in worlds
        if any(not set(plan.pages) <= {page.url for page in world.pages} for plan in world.plans)
    ]
    assert len(lacking) >= 6
