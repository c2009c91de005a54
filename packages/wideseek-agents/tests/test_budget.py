"""What a rollout may spend: time, tokens, tool calls, money."""

import asyncio
from collections.abc import Sequence

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team, TeamConfig
from wideseek_agents.budget import BudgetConfig
from wideseek_core import Document, Message, Status, Task, ToolSpec
from wideseek_core.usage import Price

from .chat_server import Server, completion
from .conftest import TRITON, Script, World, call, delegate, roles, turns


def config(**budget: object) -> TeamConfig:
    return TeamConfig(prompts="compact", budget=BudgetConfig.model_validate(budget))


def single(**budget: object) -> TeamConfig:
    return config(**budget).model_copy(update={"workflow": "single_agent"})


def seen_by(script: Script, seen: list[str]) -> Script:
    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(messages[-1].content)
        return script(messages, tools)

    return respond


async def test_tool_calls_over_the_budget_are_left_out_with_a_note(
    world: World, task: Task
) -> None:
    search = call("search", queries=[{"query": "a"}, {"query": "b"}])
    seen: list[str] = []
    script = roles(turns(delegate("x", "y"), "end"), turns(search, search, "report"))
    policy = ScriptedPolicy(seen_by(script, seen))
    episode = await Team(config(max_tool_calls=5), policy, world, world).run(task)
    assert episode.answer == "end"
    assert len(world.queries) == 3
    made = [len(turn.results) for agent in episode.trajectories for turn in agent.turns]
    assert sum(made) == 5
    notes = [note for a in episode.trajectories for turn in a.turns for note in turn.notes]
    assert notes
    assert set(notes) <= {
        "error: 1 requests over the budget",
        "error: 2 requests over the budget",
    }
    assert any("over the budget" in text for text in seen)


async def test_a_budget_of_no_tool_calls_holds_for_the_reference_too(
    world: World, task: Task
) -> None:
    team = single(max_tool_calls=0).model_copy(update={"calls": "reference"})
    policy = ScriptedPolicy(turns(call("search", query="a"), "end"))
    episode = await Team(team, policy, world, world).run(task)
    assert (episode.answer, world.queries) == ("end", [])


async def test_spent_tokens_end_subagents_and_ask_the_lead_for_its_answer(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    search = call("search", queries=[{"query": "Triton"}])
    seen: list[str] = []
    script = roles(turns(delegate("x"), "end"), turns(*[search] * 9, "report"))
    policy = ScriptedPolicy(seen_by(script, seen), tokenizer)
    episode = await Team(config(max_tokens=2000), policy, world, world).run(task)
    lead, subagent = episode.trajectories
    assert (episode.answer, lead.status) == ("end", Status.FINISHED)
    assert subagent.status is Status.BUDGET_LIMIT
    assert seen[-1].endswith("Answer now.")
    spent = sum(part.prompt_tokens + part.response_tokens for part in episode.usage)
    assert spent == sum(
        turn.prompt_tokens + turn.response_tokens
        for agent in episode.trajectories
        for turn in agent.turns
    )


async def test_a_lead_that_calls_again_after_its_budget_ends(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    policy = ScriptedPolicy(turns(*[call("search", query="Triton")] * 9), tokenizer)
    episode = await Team(single(max_tokens=1), policy, world, world).run(task)
    assert (episode.main.status, len(episode.main.turns)) == (Status.BUDGET_LIMIT, 2)
    assert len(world.queries) == 1


async def test_spent_time_ends_subagents_that_wait_for_their_model(
    world: World, task: Task
) -> None:
    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        if tools[0].name == "create_sub_agents":
            return turns(delegate("slow", "quick"), "end")(messages, tools)
        if "Subtask: slow" in messages[1].content:
            await asyncio.Event().wait()
        return "report"

    before = asyncio.all_tasks()
    episode = await Team(config(max_seconds=1.5), ScriptedPolicy(respond), world, world).run(task)
    assert [agent.status for agent in episode.trajectories] == [
        Status.FINISHED,
        Status.BUDGET_LIMIT,
        Status.FINISHED,
    ]
    assert episode.answer == "end"
    assert asyncio.all_tasks() == before


async def test_spent_time_gives_up_a_tool_and_still_asks_for_the_answer(
    world: World, task: Task
) -> None:
    class Hanging(World):
        async def search(self, query: str, k: int) -> list[Document]:
            await asyncio.Event().wait()
            raise AssertionError

    team = single(max_seconds=0.05)
    policy = ScriptedPolicy(turns(call("search", query="a"), "end"))
    episode = await Team(team, policy, Hanging(), world).run(task)
    assert (episode.answer, episode.main.turns[0].results[0].text) == ("end", "Answer now.")


async def test_an_answer_that_takes_too_long_ends_the_rollout(world: World, task: Task) -> None:
    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    team = single(max_seconds=0.02, answer_seconds=0.02)
    episode = await Team(team, ScriptedPolicy(respond), world, world).run(task)
    assert (episode.main.status, episode.answer, episode.error) == (Status.BUDGET_LIMIT, "", "")


async def test_usage_and_cost_are_split_by_role_and_model(world: World, task: Task) -> None:
    lead = Server(
        completion({"content": delegate("a")}, total=1000), completion({"content": "end"})
    )
    access = call("access", urls=[{"url": TRITON}])
    subagent = Server(completion({"content": access}), completion({"content": "report"}))
    summary = Server(completion({"content": "1353 km"}))
    prices = {
        "lead-model": Price(prompt=2.0, response=10.0),
        "*": Price(prompt=1.0, response=1.0),
    }
    team = TeamConfig(use_access_summary=True, budget=BudgetConfig(prices=prices))
    async with (
        lead.policy(model="lead-model") as first,
        subagent.policy(model="small") as second,
        summary.policy(model="reader") as third,
    ):
        made = Team(team, first, world, world, subagent_policy=second, summarizer=third)
        episode = await made.run(task)
    found = {
        (u.role, u.model): (u.requests, u.prompt_tokens, u.response_tokens) for u in episode.usage
    }
    assert found == {
        ("lead", "lead-model"): (2, 1008, 4),
        ("subagent", "small"): (2, 20, 4),
        ("summary", "reader"): (1, 10, 2),
    }
    costs = {usage.role: round(usage.cost * 1_000_000) for usage in episode.usage}
    assert costs == {"lead": 2056, "subagent": 24, "summary": 12}


async def test_spent_money_asks_for_the_answer(world: World, task: Task) -> None:
    server = Server(
        completion({"content": call("search", query="a")}), completion({"content": "end"})
    )
    team = single(max_cost=0.00001, prices={"m": {"prompt": 5.0}})
    async with server.policy() as policy:
        episode = await Team(team, policy, world, world).run(task)
    assert episode.answer == "end"
    assert server.bodies[1]["messages"][-1]["content"].endswith("Answer now.\n</tool_response>")
