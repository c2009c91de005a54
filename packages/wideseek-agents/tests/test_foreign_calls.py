"""Whole rollouts whose model calls tools in another format than its own."""

import pytest

from wideseek_agents import ScriptedPolicy, SingleConfig, Team, TeamConfig
from wideseek_core import Status, Task

from .conftest import World, turns

CALL = '{"name": "search", "arguments": {"query": "Triton"}}'


async def play(text: str, world: World, task: Task, **team: str) -> tuple[str, str]:
    """The answer of an agent that says a text and then `done`, and the notes on its first turn."""
    config = TeamConfig.model_validate(
        {"workflow": "single_agent", "single": SingleConfig(requests_per_turn=2), **team}
    )
    episode = await Team(config, ScriptedPolicy(turns(text, "done")), world, world).run(task)
    assert episode.main.status is Status.FINISHED
    first = episode.main.turns[0]
    return episode.answer, "".join(first.notes)


@pytest.mark.parametrize(
    "text",
    [
        f"I look it up.\n```json\n{CALL}\n```",
        f"<think>hm</think>{CALL}",
        f"[THINK]hm[/THINK]<tool_call>{CALL}</tool_call>",
        f"<tool_call>{CALL.replace('search', 'functions.search')}</tool_call>",
        f"<tool_call>{CALL.replace('search', 'functions.search:0')}</tool_call>",
        f"<function_call>{CALL}</function_call>",
        f"[{CALL}]",
    ],
)
async def test_a_call_that_can_be_read_is_made(text: str, world: World, task: Task) -> None:
    assert await play(text, world, task) == ("done", "")
    assert world.queries == [("Triton", 3)]


@pytest.mark.parametrize(
    "text",
    [
        'search(query="Triton")',
        CALL.replace('"}}', '",}}'),
        '<invoke name="search"><parameter name="query">Triton</parameter></invoke>',
        "Action: search\nAction Input: Triton",
        f"<think>I could write <tool_call>{CALL}</tool_call>",
        f"[THINK]I could write\n{CALL}",
        f"<tool_call>{CALL.replace('search', 'functions.find')}</tool_call>",
    ],
)
async def test_any_other_call_is_answered_by_an_error(text: str, world: World, task: Task) -> None:
    answer, notes = await play(text, world, task)
    assert (answer, world.queries) == ("done", [])
    assert "was not made" in notes


async def test_the_rule_of_the_reference_takes_them_for_answers(world: World, task: Task) -> None:
    text = f"```json\n{CALL}\n```"
    assert await play(text, world, task, calls="reference") == (text, "")


async def test_a_table_about_calls_is_an_answer(world: World, task: Task) -> None:
    table = "```markdown\n| Tag | Use |\n| --- | --- |\n| <tool_call> | begins a search |\n```"
    assert await play(table, world, task) == (table, "")


async def test_arguments_nested_without_end_are_refused_and_recorded(
    world: World, task: Task
) -> None:
    deep = f"{'[' * 300}{']' * 300}"
    text = f'<tool_call>{{"name": "search", "arguments": {{"query": {deep}}}}}</tool_call>'
    answer, notes = await play(text, world, task)
    assert (answer, "its arguments" in notes) == ("done", True)
