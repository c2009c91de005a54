"""The coverage audit of a draft table."""

from collections.abc import Callable, Sequence

import pytest

from wideseek_agents import ScriptedPolicy, SingleConfig, Team, TeamConfig
from wideseek_agents.audit import GapKind, find_gaps
from wideseek_core import Message, Status, Task, ToolSpec

from .conftest import Script, Watched, World, call, turns

DRAFT = "| Moon | Radius |\n| --- | --- |\n| Triton | 1,353 km |\n| Nereid | - |"
FULL = DRAFT.replace("| - |", "| 170 km |")
READ = call("search", query="Triton")
CONFIG = TeamConfig(prompts="compact", workflow="single_agent", coverage_audit=True)


def test_empty_repeated_and_unsupported_cells_are_gaps() -> None:
    table = f"{DRAFT}\n| Proteus | 210 km |\n| triton | 1353 km |"
    gaps = find_gaps(table, ["Triton has a radius of 1353 km.", "Nereid and Proteus are moons."])
    assert [(gap.kind, gap.row, gap.column, gap.value) for gap in gaps] == [
        (GapKind.EMPTY, "Nereid", "Radius", ""),
        (GapKind.UNSUPPORTED, "Proteus", "Radius", "210 km"),
        (GapKind.DUPLICATE, "triton", "", ""),
    ]


@pytest.mark.parametrize("answer", ["", "Nothing found.", r"\boxed{42}", "| A |\n| --- |"])
def test_an_answer_without_rows_has_no_gaps(answer: str) -> None:
    assert find_gaps(answer, []) == []


async def test_a_draft_is_sent_back_once(world: World, task: Task) -> None:
    seen: list[str] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(messages[-1].content)
        return turns(READ, DRAFT, call("search", query="Nereid"), FULL)(messages, tools)

    episode = await Team(CONFIG, ScriptedPolicy(respond), world, world).run(task)
    assert (episode.answer, episode.main.status) == (FULL, Status.FINISHED)
    assert seen[2] == ("Check:\nNereid: Moon Nereid not found\nNereid: no Radius\nTurn 3 of 50.")
    assert len(episode.main.turns) == 4


async def test_without_the_audit_the_draft_is_the_answer(world: World, task: Task) -> None:
    config = CONFIG.model_copy(update={"coverage_audit": False})
    episode = await Team(config, ScriptedPolicy(turns(READ, DRAFT)), world, world).run(task)
    assert episode.answer == DRAFT


async def test_a_second_draft_with_gaps_is_the_answer(world: World, task: Task) -> None:
    policy = ScriptedPolicy(turns(READ, DRAFT, DRAFT))
    episode = await Team(CONFIG, policy, world, world).run(task)
    assert (episode.answer, len(episode.main.turns)) == (DRAFT, 3)


def never(text: str) -> bool:
    return False


def when_checked(text: str) -> bool:
    return text.startswith("Check:")


@pytest.mark.parametrize(
    ("script", "fail"),
    [
        (turns(READ, DRAFT, READ), never),
        (turns(READ, DRAFT), when_checked),
    ],
    ids=["out of turns", "model gone"],
)
async def test_what_follows_can_not_lose_the_draft(
    world: World, task: Task, script: Script, fail: Callable[[str], bool]
) -> None:
    config = CONFIG.model_copy(update={"single": SingleConfig(max_turns=3)})
    episode = await Team(config, Watched(script, fail), world, world).run(task)
    assert (episode.answer, episode.main.status, episode.error) == (DRAFT, Status.FINISHED, "")


@pytest.mark.parametrize(
    ("revised", "better"),
    [
        ("| Moon | Radius |\n|---|---|\n| Triton | 1353 |\n| Nereid | 170 |", True),
        ("| Moon | Radius |\n|---|---|\n| Triton | 1353 |\n| Nereid | - |", False),
        ("| Moon | Radius |\n|---|---|\n| Triton | 1353 |", False),
        ("| Moon | Mass |\n|---|---|\n| Triton | 1353 |\n| Nereid | 170 |", False),
        ("I have checked the table, and it is right.", False),
        ("", False),
    ],
)
async def test_a_revision_replaces_the_draft_only_if_it_is_better(
    revised: str, better: bool, world: World, task: Task
) -> None:
    draft = "| Moon | Radius |\n|---|---|\n| Triton | 1353 |\n| Nereid | - |"
    task = task.model_copy(update={"question": "Triton 1353, Nereid 170?"})
    episode = await Team(CONFIG, ScriptedPolicy(turns(draft, revised)), world, world).run(task)
    assert episode.answer == (revised if better else draft)
    assert episode.main.status is Status.FINISHED
