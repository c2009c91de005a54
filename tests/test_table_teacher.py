"""The teacher of table tasks through the real loop and tools, and its demonstrations as rows."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team
from wideseek_apps.demo_files import read_demo_files, row_of
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.table_demos import Demonstrating, Demonstrator, demonstrations, passage
from wideseek_core.files import append_line
from wideseek_data.tasks.make import Amounts
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe
from wideseek_data.teaching.invented_tables import InventedTables, TableWorld, invent_tables
from wideseek_data.teaching.table_teacher import REFUSAL, TableTeacher
from wideseek_judge import JudgeConfig, open_judge
from wideseek_rl import TrainedTurn, build_samples
from wideseek_rl.models.start_policy import start_policy
from wideseek_tools.backends.memory import MemoryPages, MemorySearch

SMALL = InventedTables(
    amounts=Amounts(wide_per_table=6, short_per_table=9), max_rows=8, missing_share=0.0
)


def world(seed: int) -> TableWorld:
    return invent_tables(seed, SMALL)


@pytest.mark.parametrize("single_share", [0.0, 1.0])
async def test_the_teacher_answers_what_it_can_read(single_share: float) -> None:
    settings = Demonstrating(team=ATLAS_TEAM, single_share=single_share, min_score=1.0)
    counts = 0
    async with open_judge(JudgeConfig()) as judge:
        for seed in range(3):
            made = Demonstrator(world(seed), settings, judge)
            for plan in world(seed).plans:
                await made.demonstrate(plan)
            assert made.counts["low score"] == 0
            counts += made.counts["kept"]
    assert counts > 40


async def test_what_no_page_states_is_refused() -> None:
    seen = world(1)
    nothing = TableWorld(tables=seen.tables, pages=(), plans=seen.plans)
    kept: list[tuple[PlannedTask, str]] = []
    counts = 0
    made = Demonstrator(nothing, Demonstrating(team=ATLAS_TEAM, single_share=0.5), None)
    for plan in nothing.plans:
        for item in await made.demonstrate(plan):
            if item.agent != "subagent":
                kept.append((plan, item.messages[-1].content))
    for plan, answer in kept:
        assert REFUSAL in answer
        assert ("\\boxed{unknown}" in answer) == isinstance(plan.recipe, ShortRecipe)
        counts += 1
    assert counts == made.counts["kept"] > 10


def test_equal_seeds_make_equal_demonstrations() -> None:
    runs = [
        demonstrations(world(2), world(2).plans[:4], Demonstrating(team=ATLAS_TEAM))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert {item.agent for item in runs[0][0]} >= {"lead", "subagent"}


async def test_rows_are_the_ids_that_the_loop_would_sample() -> None:
    tokenizer = ChatTokenizer(Tokenizer.from_file(str(start_policy() / "tokenizer.json")))
    seen = world(3)
    plan = seen.plans[0]
    team = Team(
        ATLAS_TEAM,
        ScriptedPolicy(TableTeacher(seen.plans, seen.tables).respond, tokenizer),
        MemorySearch(map(passage, seen.pages)),
        MemoryPages(seen.pages),
    )
    episode = await team.run(plan.task)
    expected = [
        (row.ids.tolist(), (row.weights > 0).tolist())
        for trajectory in episode.trajectories
        for row in build_samples(
            [TrainedTurn(turn=turn, weight=1.0, advantage=1.0) for turn in trajectory.turns]
        )
    ]
    settings = Demonstrating(team=ATLAS_TEAM, single_share=0.0, subagents_kept=99)
    made = await Demonstrator(seen, settings, None).demonstrate(plan)
    rows = [row_of(item.chat(), tokenizer) for item in made]
    assert sorted(rows) == sorted(expected)


def test_demonstration_files_become_rows_and_long_ones_are_counted(tmp_path: Path) -> None:
    tokenizer = ChatTokenizer(Tokenizer.from_file(str(start_policy() / "tokenizer.json")))
    path = tmp_path / "demos.jsonl"
    made, _ = demonstrations(
        world(4), world(4).plans[:3], Demonstrating(team=ATLAS_TEAM, single_share=0.0)
    )
    for item in made:
        append_line(path, item)
    whole = read_demo_files([path], tokenizer, max_tokens=100_000)
    assert len(whole.rows) == len(made)
    assert not whole.left_out
    cut = read_demo_files([path], tokenizer, max_tokens=400)
    assert cut.left_out.total() + cut.kept.total() == len(made)
    assert cut.left_out
