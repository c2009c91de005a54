"""The teacher through the real loop, tools and judge: its demonstrations are right answers."""

import pytest
from tokenizers import Tokenizer

from wideseek_agents import PromptSet, ScriptedPolicy, Team
from wideseek_apps.demos import (
    demo_set,
    demonstrate,
    demonstration_plans,
    world_tools,
)
from wideseek_apps.listing_demos import answer_listing
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.sft_config import DemosConfig
from wideseek_core import Document, Page, Status, TableGold, TableMetrics
from wideseek_data import atlas
from wideseek_data.atlas import load_wide
from wideseek_data.atlas.invented import invent
from wideseek_data.atlas.teacher import NO_SOURCE, Teacher
from wideseek_data.atlas.wide import Wide
from wideseek_data.teaching.invented_listings import Split, invent_listings
from wideseek_data.teaching.listing_layouts import WHOLE
from wideseek_data.teaching.names_layouts import HELD_OUT_NAMED, NAMED
from wideseek_data.teaching.values_layouts import HELD_OUT_STATED, STATED
from wideseek_judge import JudgeConfig, open_judge
from wideseek_rl.models.start_policy import start_policy
from wideseek_tools.backends.memory import MemoryPages, MemorySearch


async def test_demonstrations_end_well_and_drop_no_call() -> None:
    for seed in range(6):
        plans = demonstration_plans(seed, DemosConfig())
        search, pages = world_tools(invent(seed))
        policy = ScriptedPolicy(Teacher(plans).respond)
        teams = [
            Team(ATLAS_TEAM.model_copy(update={"workflow": workflow}), policy, search, pages)
            for workflow in ("multi_agent", "single_agent")
        ]
        for episode in await demonstrate(seed, plans, (teams[0], teams[1]), 0.3):
            assert not episode.error
            for agent in episode.trajectories:
                assert agent.status is Status.FINISHED
                assert all(turn.dropped_calls == 0 for turn in agent.turns)


async def test_the_teacher_answers_questions_of_the_atlas() -> None:

    pages = list(atlas.pages())
    search = MemorySearch(Document(url=p.url, title=p.title, text=p.lead) for p in pages)
    store = MemoryPages(Page(url=p.url, text=p.contents, title=p.title) for p in pages)
    plans = load_wide("dev", limit=30, min_rows=3, max_rows=6)
    team = Team(ATLAS_TEAM, ScriptedPolicy(Teacher(plans).respond), search, store)
    async with open_judge(JudgeConfig()) as judge:
        scores = [
            (await judge.score(plan.task, (await team.run(plan.task)).answer)).value
            for plan in plans
        ]
    assert sum(scores) / len(scores) > 0.85
    assert scores.count(1.0) >= len(scores) // 2


@pytest.mark.parametrize("workflow", ["multi_agent", "single_agent"])
async def test_what_the_teacher_never_read_is_unknown(workflow: str) -> None:
    world = invent(1)
    search, _ = world_tools(world)

    plans = [plan for plan in demonstration_plans(1, DemosConfig()) if isinstance(plan, Wide)]
    chosen = ATLAS_TEAM.model_copy(update={"workflow": workflow})
    team = Team(chosen, ScriptedPolicy(Teacher(plans).respond), search, MemoryPages([]))
    for plan in plans:
        answer = (await team.run(plan.task)).answer
        for row in plan.rows:
            for column in plan.columns:
                if plan.domain.attribute(column).facet >= 0:
                    assert f"| {row.values[column]} |" not in answer


@pytest.mark.parametrize("workflow", ["multi_agent", "single_agent"])
@pytest.mark.parametrize(("split", "seeds"), [("demos", 200), ("test", 40)])
async def test_the_teacher_is_right_about_listings_in_every_layout(
    workflow: str, split: Split, seeds: int
) -> None:
    prompts = PromptSet.load(ATLAS_TEAM.prompts)
    team = ATLAS_TEAM.model_copy(update={"workflow": workflow})
    layouts = set[str]()
    async with open_judge(JudgeConfig()) as judge:
        for seed in range(seeds):
            world = invent_listings(seed, split)
            asked = world[0]
            layouts |= {asked.names_layout, asked.values_layout}
            episode = await answer_listing(asked, world, team, prompts, ScriptedPolicy)
            metrics = (await judge.score(asked.task, episode.answer)).metrics
            assert isinstance(metrics, TableMetrics)
            assert metrics.item_f1 == 1.0, (seed, episode.answer)
    held_out = {*HELD_OUT_NAMED, *HELD_OUT_STATED}
    assert layouts == (held_out if split == "test" else {*NAMED, *STATED, *WHOLE} - held_out)


def test_demonstrations_left_out_for_their_length_are_counted() -> None:
    config = DemosConfig(worlds=2, single_share=1.0, processes=1)
    tokenizer = Tokenizer.from_file(str(start_policy() / "tokenizer.json"))
    limit = 1024
    whole = demo_set(config, ATLAS_TEAM, tokenizer, max_tokens=1_000_000)
    cut = demo_set(config, ATLAS_TEAM, tokenizer, max_tokens=limit)
    assert not whole.left_out
    assert cut.kept + cut.left_out == whole.kept
    assert cut.rows.lengths.tolist() == [n for n in whole.rows.lengths.tolist() if n <= limit]
    assert cut.left_out["single"] > 0


@pytest.mark.parametrize("workflow", ["multi_agent", "single_agent"])
async def test_a_question_that_no_page_answers_is_demonstrated_as_unanswered(workflow: str) -> None:
    config = DemosConfig(wide_per_world=0, chains_per_world=0, absent_per_world=6)
    for seed in range(4):
        plans = demonstration_plans(seed, config)
        assert len(plans) == 6
        search, pages = world_tools(invent(seed))
        chosen = ATLAS_TEAM.model_copy(update={"workflow": workflow})
        team = Team(chosen, ScriptedPolicy(Teacher(plans).respond), search, pages)
        for plan in plans:
            episode = await team.run(plan.task)
            wide = isinstance(plan.task.gold, TableGold)
            assert episode.answer == (NO_SOURCE if wide else r"\boxed{unknown}")
            assert episode.main.status is Status.FINISHED


async def test_a_short_answer_that_was_never_read_is_unknown() -> None:
    config = DemosConfig(wide_per_world=0, chains_per_world=4, absent_per_world=0)
    plans = demonstration_plans(3, config)
    team = Team(
        ATLAS_TEAM, ScriptedPolicy(Teacher(plans).respond), MemorySearch([]), MemoryPages([])
    )
    for plan in plans:
        assert (await team.run(plan.task)).answer == r"\boxed{unknown}"
