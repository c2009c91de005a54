"""Native tool calls through whole rollouts: each is answered by its own result."""

import json
import re
from typing import Any

import httpx2
import pytest

from wideseek_agents import ChatPolicy, SingleConfig, Team, TeamConfig
from wideseek_core import Status, Task

from .chat_server import Server, completion
from .conftest import TRITON, World

CONFIG = TeamConfig(workflow="single_agent", single=SingleConfig(requests_per_turn=2))


def native(*calls: tuple[str, str, str]) -> httpx2.Response:
    """A response of calls: identifier, name, arguments as text."""
    found = [{"id": id, "function": {"name": name, "arguments": text}} for id, name, text in calls]
    return completion({"content": None, "tool_calls": found}, "tool_calls")


def results(server: Server, request: int) -> dict[str, str]:
    """The tool messages at the end of a request, by identifier."""
    messages: list[dict[str, Any]] = server.bodies[request]["messages"]
    return {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}


async def run(policy: ChatPolicy, world: World, task: Task) -> tuple[str, Status, Any]:
    async with policy:
        episode = await Team(CONFIG, policy, world, world).run(task)
    return episode.answer, episode.main.status, episode.main.turns[0]


async def test_each_call_gets_its_own_result_and_dropped_ones_an_error(
    world: World, task: Task
) -> None:
    server = Server(
        native(
            ("a", "search", '{"query": "Triton"}'),
            ("b", "find", "{}"),
            ("c", "search", '{"query": '),
            ("d", "access", json.dumps({"url": TRITON, "info_to_extract": "radius"})),
            ("e", "search", '{"query": "surplus"}'),
        ),
        completion({"content": "done"}),
    )
    answer, status, turn = await run(server.policy(native_tools=True), world, task)
    assert (answer, status, turn.dropped_calls) == ("done", Status.FINISHED, 3)
    shown = results(server, 1)
    assert list(shown) == ["a", "b", "c", "d", "e"]
    assert "Triton has a radius" in shown["a"]
    assert "no tool named" in shown["b"]
    assert "not valid" in shown["c"]
    assert "From the page" in shown["d"]
    assert "left out" in shown["e"]
    assert "Turn 2 of 50" in shown["e"]
    assert "Turn 2" not in shown["a"]


async def test_malformed_native_calls_alone_are_no_answer(world: World, task: Task) -> None:
    server = Server(native(("a", "search", "{")), completion({"content": "done"}))
    answer, status, turn = await run(server.policy(native_tools=True), world, task)
    assert (answer, status, turn.dropped_calls) == ("done", Status.FINISHED, 1)
    assert list(results(server, 1)) == ["a"]


async def test_a_closing_tag_inside_native_arguments_cuts_nothing(world: World, task: Task) -> None:
    arguments = json.dumps({"query": "meaning of </think> in Qwen3"})
    server = Server(native(("a", "search", arguments)), completion({"content": "done"}))
    answer, _, turn = await run(server.policy(native_tools=True), world, task)
    assert answer == "done"
    assert turn.calls[0].arguments == {"query": "meaning of </think> in Qwen3"}
    assert world.queries == [("meaning of </think> in Qwen3", 3)]


async def test_a_call_inside_native_reasoning_is_not_run(world: World, task: Task) -> None:
    draft = 'I could write <tool_call>{"name": "search", "arguments": {"query": "x"}}</tool_call>'
    server = Server(completion({"content": "done", "reasoning_content": draft}))
    answer, _, _ = await run(server.policy(native_tools=True), world, task)
    assert (answer, world.queries) == ("done", [])


async def test_a_closing_tag_in_a_cell_does_not_cut_the_answer(world: World, task: Task) -> None:
    table = "```markdown\n| Moon | Tag |\n| --- | --- |\n| Triton | </think> |\n```"
    for message in ({"content": table}, {"content": table, "reasoning": "hm"}):
        server = Server(completion(message))
        answer, _, _ = await run(server.policy(), world, task)
        assert answer == table


async def test_a_server_that_fails_one_subagent_costs_its_report_alone(
    world: World, task: Task
) -> None:
    def serve(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        text = json.dumps(body["messages"])
        if "You lead a team" not in text:
            if "Your subtask:\\noops" in text:
                return httpx2.Response(400, json={"error": {"message": "content filter"}})
            return completion({"content": "report"})
        if any(message["role"] == "assistant" for message in body["messages"]):
            return completion({"content": "answer"})
        subtasks = {"sub_agents": [{"prompt": "fine"}, {"prompt": "oops"}]}
        call = json.dumps({"name": "create_sub_agents", "arguments": subtasks})
        return completion({"content": f"<tool_call>{call}</tool_call>"})

    config = Server(completion({"content": ""})).policy().config
    async with ChatPolicy(config, transport=httpx2.MockTransport(serve)) as policy:
        episode = await Team(TeamConfig(), policy, world, world).run(task)
    assert (episode.answer, episode.error) == ("answer", "")
    assert [r.ok for r in episode.main.turns[0].results] == [True, False]
    assert "content filter" in episode.trajectories[2].error
    assert episode.trajectories[2].status is Status.ERROR


async def test_an_aborted_response_of_the_lead_is_an_error_of_the_episode(
    world: World, task: Task
) -> None:
    server = Server(completion({"content": "half a table"}, "abort"))
    async with server.policy(max_attempts=2) as policy:
        episode = await Team(CONFIG, policy, world, world).run(task)
    assert (episode.answer, episode.main.status) == ("", Status.ABORTED)
    assert "abort" in episode.error


def item(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": id, "function": {"name": name, "arguments": arguments}}


QUERY = '{"query": "Triton"}'


@pytest.mark.parametrize(
    "calls",
    [
        [item(None, "search", QUERY), item("", "search", QUERY)],
        [item("same", "search", QUERY), item("same", "search", QUERY)],
        [item(str(number), "search", QUERY) for number in range(30)],
        [item("a", "functions.search:0", QUERY), item("b", "sea\x00rch", "{}")],
        [item("a", None, "{}"), item("b", "search", "{"), item("c", "search", None), "text"],
        [item("a", "search", '{"query": "</tool_call> <|im_end|> \\ud800"}')],
        item("a", "search", {"query": ["Triton"]}),
    ],
)
async def test_a_strict_server_accepts_what_is_sent_back(
    calls: Any, world: World, task: Task
) -> None:
    def serve(request: httpx2.Request) -> httpx2.Response:
        messages: list[Any] = json.loads(request.content)["messages"]
        for place, message in enumerate(messages):
            sent = message.get("tool_calls", [])
            ids = [call["id"] for call in sent]
            answers = messages[place + 1 : place + 1 + len(sent)]
            valid = ids == [answer.get("tool_call_id") for answer in answers]
            valid = valid and len(set(ids)) == len(ids) and all(ids)
            for call in sent:
                valid = valid and re.fullmatch(r"[\w-]{1,64}", call["function"]["name"]) is not None
                valid = valid and isinstance(json.loads(call["function"]["arguments"]), dict)
            if not valid:
                return httpx2.Response(400, json={"error": {"message": "invalid history"}})
        if any(message["role"] == "assistant" for message in messages):
            return completion({"content": "done"})
        return completion({"content": None, "tool_calls": calls}, "tool_calls")

    settings = Server(completion({"content": ""})).policy(native_tools=True).config
    policy = ChatPolicy(settings, transport=httpx2.MockTransport(serve))
    answer, status, _ = await run(policy, world, task)
    assert (answer, status) == ("done", Status.FINISHED)
