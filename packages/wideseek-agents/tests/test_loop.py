"""How agents end, and what becomes of failures, through `Team.run`."""

import asyncio
import json
from collections.abc import Sequence
from typing import Literal

import httpx2
import pytest

from wideseek_agents import (
    AgentConfig,
    AgentEnded,
    AgentStarted,
    ChatPolicy,
    ChatPolicyConfig,
    ChatTokenizer,
    Event,
    LeadConfig,
    ScriptedPolicy,
    SingleConfig,
    Team,
    TeamConfig,
    ToolAnswered,
    TurnTaken,
)
from wideseek_core import (
    Conversation,
    Message,
    Page,
    Status,
    Task,
    TextGold,
    ToolSpec,
)
from wideseek_core.testing import in_simulated_time
from wideseek_core.usage import watched_usage

from .conftest import COMPACT, SINGLE, TRITON, Watched, World, call, delegate, roles, turns


async def test_a_single_agent_searches_reads_and_answers(world: World, task: Task) -> None:
    script = turns(call("search", query="Nereid", count=20), call("access", url=TRITON), "done")
    episode = await Team(SINGLE, ScriptedPolicy(script), world, world).run(task)
    assert (episode.main.role, episode.answer) == ("single", "done")
    assert world.queries == [("Nereid", 9)]
    assert episode.main.turns[1].results[0].text == "Triton has a radius of 1353 km."


async def test_only_what_follows_the_thinking_is_reported(world: World, task: Task) -> None:
    script = roles(turns(delegate("a"), "end"), turns("<think>secret</think>\nopen"))
    episode = await Team(COMPACT, ScriptedPolicy(script), world, world).run(task)
    assert episode.main.turns[0].results[0].text == "open"


async def test_the_last_turn_must_be_the_answer(world: World, task: Task) -> None:
    config = TeamConfig(
        prompts="compact", workflow="single_agent", single=SingleConfig(max_turns=2)
    )
    script = turns(*[call("search", query="Triton")] * 2)
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    assert (episode.main.status, episode.answer) == (Status.TURN_LIMIT, "")
    assert [len(turn.calls) for turn in episode.main.turns] == [1, 1]
    assert len(world.queries) == 1


async def test_a_response_that_reaches_the_limit_of_a_turn_is_cut(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    policy = ScriptedPolicy(turns(call("search", query="Triton")), tokenizer, max_tokens=5)
    episode = await Team(SINGLE, policy, world, world).run(task)
    assert episode.main.status is Status.TURN_CUT
    assert (len(episode.main.turns), episode.main.turns[0].calls) == (1, ())


async def test_a_very_long_response_that_is_cut_off_is_repetition(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    single = SingleConfig(repetition_tokens=100)
    config = TeamConfig(prompts="compact", workflow="single_agent", single=single)
    policy = ScriptedPolicy(turns("again " * 200), tokenizer, max_tokens=100)
    episode = await Team(config, policy, world, world).run(task)
    assert episode.main.status is Status.REPETITION


async def test_results_that_do_not_fit_overflow(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    class Wordy(World):
        async def read(self, url: str) -> Page:
            return Page(url=url, text="word " * 1000)

    policy = ScriptedPolicy(turns(call("access", url="u"), "never"), tokenizer, context_tokens=600)
    episode = await Team(SINGLE, policy, world, Wordy()).run(task)
    assert episode.main.status is Status.MESSAGE_OVERFLOW
    assert len(episode.main.turns[0].results) == 1


async def test_a_question_that_does_not_fit_leaves_no_turns(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    single = SingleConfig(max_question_tokens=10)
    config = TeamConfig(prompts="compact", workflow="single_agent", single=single)
    policy = ScriptedPolicy(turns("never"), tokenizer)
    episode = await Team(config, policy, world, world).run(task)
    assert (episode.main.status, episode.main.turns) == (Status.CONTEXT_OVERFLOW, ())
    assert episode.error == ""


async def test_a_failed_subagent_is_reported_and_the_lead_goes_on(world: World, task: Task) -> None:
    def subagent(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        bad = "Subtask: bad" in messages[1].content
        return call("search", queries=[{"query": "x"}]) if bad else "fine"

    config = TeamConfig(prompts="compact", subagent=AgentConfig(max_turns=2))
    script = roles(turns(delegate("bad", "good"), "answer"), subagent)
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    statuses = [trajectory.status for trajectory in episode.trajectories]
    assert statuses == [Status.FINISHED, Status.TURN_LIMIT, Status.FINISHED]
    results = episode.main.turns[0].results
    assert [(result.text, result.ok) for result in results] == [("failed", False), ("fine", True)]
    assert episode.answer == "answer"


async def test_a_lead_may_delegate_in_several_turns(world: World, task: Task) -> None:
    script = roles(turns(delegate("a", "b"), delegate("c"), "end"), turns("ok"))
    episode = await Team(COMPACT, ScriptedPolicy(script), world, world).run(task)
    assert [(t.agent, t.prompt) for t in episode.trajectories[1:]] == [(1, "a"), (2, "b"), (3, "c")]


async def test_surplus_subagents_are_not_started(world: World, task: Task) -> None:
    config = TeamConfig(prompts="compact", lead=LeadConfig(requests_per_turn=2))
    script = roles(turns(delegate("a", "b", "c"), "end"), turns("ok"))
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    assert len(episode.trajectories) == 3
    assert episode.main.turns[0].dropped_calls == 1


async def test_subagents_of_a_turn_run_at_the_same_time(world: World, task: Task) -> None:
    together = asyncio.Barrier(3)

    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        if tools[0].name == "create_sub_agents":
            return turns(delegate("a", "b", "c"), "end")(messages, tools)
        await together.wait()
        return "ok"

    async with asyncio.timeout(120):
        episode = await Team(COMPACT, ScriptedPolicy(respond), world, world).run(task)
    assert episode.answer == "end"


async def test_a_subagent_whose_policy_fails_costs_its_report_alone(
    world: World, task: Task
) -> None:
    script = roles(turns(delegate("good", "broken"), "answer"), turns("ok"))
    policy = Watched(script, fail=lambda text: "\nSubtask: broken\nTurn 1" in text)
    events: list[Event] = []
    episode = await Team(COMPACT, policy, world, world).run(task, on_event=events.append)
    assert (episode.answer, episode.error) == ("answer", "")
    assert [t.status for t in episode.trajectories] == [
        Status.FINISHED,
        Status.FINISHED,
        Status.ERROR,
    ]
    assert [(r.text, r.ok) for r in episode.main.turns[0].results] == [
        ("ok", True),
        ("failed", False),
    ]
    assert episode.trajectories[2].error == "PolicyUnavailable: gone"
    assert policy.open_now == 0
    ended = {e.agent: e.status for e in events if isinstance(e, AgentEnded)}
    assert ended == {0: Status.FINISHED, 1: Status.FINISHED, 2: Status.ERROR}


async def test_a_lead_whose_policy_fails_ends_the_episode_with_what_was_done(
    world: World, task: Task
) -> None:
    script = roles(turns(delegate("a"), "never"), turns("report"))
    policy = Watched(script, fail=lambda text: "report" in text)
    events: list[Event] = []
    episode = await Team(COMPACT, policy, world, world).run(task, on_event=events.append)
    assert (episode.answer, episode.error) == ("", "PolicyUnavailable: gone")
    assert [t.status for t in episode.trajectories] == [Status.ERROR, Status.FINISHED]
    assert [len(t.turns) for t in episode.trajectories] == [1, 1]
    assert policy.open_now == 0
    started = {event.agent for event in events if isinstance(event, AgentStarted)}
    assert {event.agent for event in events if isinstance(event, AgentEnded)} == started


async def test_a_failed_episode_leaves_its_siblings_alone(world: World, task: Task) -> None:
    other = task.model_copy(update={"id": "other", "question": "broken"})
    policy = Watched(turns("fine"), fail=lambda text: "broken" in text)
    team = Team(SINGLE, policy, world, world)
    good, bad = await asyncio.gather(team.run(task), team.run(other))
    assert (good.answer, good.error) == ("fine", "")
    assert bad.error == "PolicyUnavailable: gone"


@in_simulated_time
async def test_what_a_rollout_has_spent_is_known_when_it_is_broken_off(
    world: World, task: Task
) -> None:
    lead = turns(delegate("look", "hang"), "| Moon |")
    policy = Watched(roles(lead, turns("Triton")))
    with watched_usage() as watch:
        running = asyncio.create_task(Team(COMPACT, policy, world, world).run(task))
        await asyncio.sleep(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    spent = {part.role: part.requests for part in watch.usage()}
    assert spent == {"lead": 1, "subagent": 1}  # the other subagent's turn had not ended


async def test_cancelling_closes_every_conversation(world: World, task: Task) -> None:
    policy = Watched(roles(turns(delegate("hang", "hang")), turns()), fail=lambda _: False)
    running = asyncio.create_task(Team(COMPACT, policy, world, world).run(task))
    for _ in range(2):
        await policy.hanging.acquire()
    assert policy.open_now == 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert policy.open_now == 0


async def test_a_bug_below_a_subagent_is_not_told_to_the_lead(world: World, task: Task) -> None:
    def buggy(event: Event) -> None:
        if isinstance(event, TurnTaken) and event.agent:
            raise ZeroDivisionError

    script = roles(turns(delegate("a"), "end"), turns("report"))
    with pytest.raises(ZeroDivisionError):
        await Team(COMPACT, ScriptedPolicy(script), world, world).run(task, on_event=buggy)


async def test_malformed_calls_are_reported_and_may_be_written_again(
    world: World, task: Task
) -> None:
    text = "<tool_call>{broken</tool_call>" + call("find", query="x")
    seen: list[str] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(messages[-1].content)
        return turns(text, call("search", query="Triton"), "done")(messages, tools)

    episode = await Team(SINGLE, ScriptedPolicy(respond), world, world).run(task)
    assert (episode.main.status, episode.answer) == (Status.FINISHED, "done")
    first = episode.main.turns[0]
    assert (first.dropped_calls, first.calls, first.results) == (2, (), ())
    assert first.notes == ("error: bad call", "error: no tool find")
    assert seen[1] == "error: bad call\nerror: no tool find\nTurn 2 of 50."


async def test_the_default_prompts_tell_what_is_wrong_with_a_call(world: World, task: Task) -> None:
    config = TeamConfig(workflow="single_agent", single=SingleConfig(requests_per_turn=2))
    bad = call("search", count=3) + call("find", query="x")
    many = call("search", query="a") + call("search", query="b") + call("search", query="c")
    script = turns(bad, many, "done")
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    arguments, unknown = episode.main.turns[0].notes
    assert "A call of search was not made" in arguments
    assert '"required": ["query"]' in arguments
    assert 'no tool named "find". The tools are: search, access.' in unknown
    (surplus,) = episode.main.turns[1].notes
    assert "at most 1 are made in one call and 2 in one turn" in surplus


async def test_a_last_turn_with_a_malformed_call_is_no_answer(world: World, task: Task) -> None:
    single = SingleConfig(max_turns=2)
    config = TeamConfig(prompts="compact", workflow="single_agent", single=single)
    script = turns(*["<tool_call>{broken</tool_call>"] * 2)
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    assert (episode.main.status, episode.answer) == (Status.TURN_LIMIT, "")


async def test_by_the_rule_of_the_reference_malformed_calls_alone_are_the_answer(
    world: World, task: Task
) -> None:
    text = "<tool_call>{broken</tool_call>" + call("find", query="x")
    config = TeamConfig(prompts="compact", workflow="single_agent", calls="reference")
    episode = await Team(config, ScriptedPolicy(turns(text)), world, world).run(task)
    assert (episode.main.status, episode.answer) == (Status.FINISHED, text)
    assert (episode.main.turns[0].dropped_calls, episode.main.turns[0].notes) == (2, ())


@pytest.mark.parametrize(("calls", "subagents"), [("report", 0), ("reference", 2)])
async def test_by_the_rule_of_the_reference_the_calls_of_a_last_turn_are_made(
    world: World, task: Task, calls: Literal["report", "reference"], subagents: int
) -> None:
    config = TeamConfig(prompts="compact", lead=LeadConfig(max_turns=1), calls=calls)
    script = roles(turns(delegate("a", "b")), turns("ok"))
    episode = await Team(config, ScriptedPolicy(script), world, world).run(task)
    assert episode.main.status is Status.TURN_LIMIT
    assert len(episode.trajectories) == 1 + subagents


async def test_the_default_limits_are_those_of_the_method(world: World, task: Task) -> None:
    config, many = TeamConfig(), [{"query": str(n)} for n in range(7)]
    limits = (config.lead, config.subagent, config.single)
    assert [limit.max_turns for limit in limits] == [10, 20, 50]
    assert {limit.max_question_tokens for limit in limits} == {4096}
    assert {(limit.context_tokens, limit.repetition_tokens) for limit in limits} == {(32_000, 8000)}
    assert (config.top_k, config.max_document_chars) == (3, 5000)
    subagent = turns(call("search", queries=many), "ok")
    script = roles(turns(delegate(*map(str, range(12))), "end"), subagent)
    episode = await Team(COMPACT, ScriptedPolicy(script), world, world).run(task)
    assert len(episode.trajectories) == 1 + 10
    assert [query for query, _ in world.queries[:5]] == ["0", "1", "2", "3", "4"]
    assert (len(world.queries), {count for _, count in world.queries}) == (10 * 5, {3})
    two = call("search", query="a") + call("search", query="b")
    episode = await Team(SINGLE, ScriptedPolicy(turns(two, "end")), world, world).run(task)
    assert [result.request for result in episode.main.turns[0].results] == ["a"]


async def test_reports_come_in_the_order_of_the_calls(world: World, task: Task) -> None:
    last = asyncio.Event()

    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        if tools[0].name == "create_sub_agents":
            return turns(delegate("slow") + delegate("fast"), "end")(messages, tools)
        if "Subtask: slow" in messages[1].content:
            await last.wait()
            return "late"
        last.set()
        return "early"

    episode = await Team(COMPACT, ScriptedPolicy(respond), world, world).run(task)
    results = episode.main.turns[0].results
    assert [(r.request, r.text) for r in results] == [("slow", "late"), ("fast", "early")]


async def test_a_second_model_can_serve_the_subagents(world: World, task: Task) -> None:
    lead, subagent = ScriptedPolicy(turns(delegate("a"), "end")), ScriptedPolicy(turns("from B"))
    episode = await Team(COMPACT, lead, world, world, subagent_policy=subagent).run(task)
    assert episode.main.turns[0].results[0].text == "from B"


async def test_questions_with_short_answers_ask_for_a_box(world: World) -> None:
    task = Task(id="q", question="Who?", gold=TextGold(answers=("Lassell",)))
    seen: list[str] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(messages[0].content)
        return r"\boxed{Lassell}"

    await Team(COMPACT, ScriptedPolicy(respond), world, world).run(task)
    assert r"then write \boxed{answer}." in seen[0]


async def test_chinese_tasks_get_chinese_prompts(world: World, task: Task) -> None:
    seen: list[str] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(messages[0].content)
        return "完"

    chinese = task.model_copy(update={"language": "zh"})
    await Team(TeamConfig(), ScriptedPolicy(respond), world, world).run(chinese)
    assert seen[0].startswith("你带领一个团队")


async def test_native_tools_are_left_out_of_the_system_prompt(world: World, task: Task) -> None:
    bodies: list[dict[str, list[dict[str, str]]]] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(200, json={"choices": [{"message": {"content": "end"}}]})

    config = ChatPolicyConfig(model="m", native_tools=True)
    async with ChatPolicy(config, transport=httpx2.MockTransport(serve)) as policy:
        episode = await Team(TeamConfig(), policy, world, world).run(task)
    assert episode.answer == "end"
    assert len(bodies[0]["tools"]) == 1
    assert "<tools>" not in bodies[0]["messages"][0]["content"]


async def test_events_tell_what_happens(world: World, task: Task) -> None:
    access = call("access", urls=[{"url": TRITON}])
    script = roles(turns(delegate("a"), "end"), turns(access, "ok"))
    events: list[Event] = []
    await Team(COMPACT, ScriptedPolicy(script), world, world).run(task, on_event=events.append)
    assert [(type(event), event.agent) for event in events] == [
        (AgentStarted, 0),
        (TurnTaken, 0),
        (AgentStarted, 1),
        (TurnTaken, 1),
        (ToolAnswered, 1),
        (TurnTaken, 1),
        (AgentEnded, 1),
        (ToolAnswered, 0),
        (TurnTaken, 0),
        (AgentEnded, 0),
    ]
    answered = [(e.tool, e.urls) for e in events if isinstance(e, ToolAnswered)]
    assert answered == [("access", (TRITON,)), ("create_sub_agents", ())]


async def test_seeds_follow_from_seed_task_trial_and_agent(world: World, task: Task) -> None:
    class Seeds(ScriptedPolicy):
        seen: list[int] = []

        def open(
            self,
            tools: Sequence[ToolSpec],
            *,
            seed: int = 0,
            max_question_tokens: int | None = None,
        ) -> Conversation:
            self.seen.append(seed)
            return super().open(tools, seed=seed)

    team = Team(COMPACT, Seeds(roles(turns(delegate("a"), "end"), turns("ok"))), world, world)
    for trial, seed in ((0, 0), (0, 0), (1, 0), (0, 1)):
        await team.run(task, trial=trial, seed=seed)
    assert Seeds.seen[:2] == Seeds.seen[2:4]
    assert len(set(Seeds.seen)) == 6
