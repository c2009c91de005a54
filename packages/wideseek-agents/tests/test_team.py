"""Whole rollouts through the public API."""

from collections.abc import Sequence

import pytest

from wideseek_agents import ChatTokenizer, Exchange, ScriptedPolicy, Team, TeamConfig
from wideseek_core import Message, Status, Task, ToolSpec

from .conftest import SINGLE, TRITON, World, call

TABLE = "```markdown\n| Moon | Radius |\n| --- | --- |\n| Triton | 1353 |\n```"


def play(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    turn = sum(message.role == "assistant" for message in messages)
    if tools[0].name == "create_sub_agents":
        prompts = [{"prompt": "radius of Triton"}, {"prompt": "radius of Nereid"}]
        return [call("create_sub_agents", sub_agents=prompts), TABLE][turn]
    script = [
        call("search", queries=[{"query": "Triton"}]),
        call("access", urls=[{"url": TRITON}, {"url": "https://moons.example/none"}]),
        "1353 km",
    ]
    return script[turn]


async def test_a_lead_delegates_and_answers(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    team = Team(TeamConfig(prompts="compact"), ScriptedPolicy(play, tokenizer), world, world)
    episode = await team.run(task, trial=2)
    lead, first, second = episode.trajectories
    assert (episode.task_id, episode.trial, episode.error) == ("moons", 2, "")
    assert episode.answer == TABLE
    assert [t.role for t in episode.trajectories] == ["lead", "subagent", "subagent"]
    assert (first.prompt, second.prompt) == ("radius of Triton", "radius of Nereid")
    assert all(t.status is Status.FINISHED for t in episode.trajectories)
    assert [result.text for result in lead.turns[0].results] == ["1353 km", "1353 km"]
    assert [result.ok for result in first.turns[1].results] == [True, False]
    assert world.queries == [("Triton", 3), ("Triton", 3)]


async def test_the_compact_layout_is_what_models_are_trained_on(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    team = Team(TeamConfig(prompts="compact"), ScriptedPolicy(play, tokenizer), world, world)
    lead, subagent, _ = (await team.run(task)).trajectories
    assert tokenizer.decode(lead.turns[-1].prompt_ids) == (
        "<|im_start|>system\n"
        "Lead. Delegate with create_sub_agents, then write a markdown table.\n"
        "create_sub_agents(sub_agents:[{prompt}])<|im_end|>\n"
        "<|im_start|>user\n"
        "List Neptune's moons with their radius.\n"
        "Turn 1 of 10.<|im_end|>\n"
        "<|im_start|>assistant\n"
        '<tool_call>{"name": "create_sub_agents", "arguments": {"sub_agents": '
        '[{"prompt": "radius of Triton"}, {"prompt": "radius of Nereid"}]}}</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n"
        "Subtask: radius of Triton\n1353 km\n"
        "Subtask: radius of Nereid\n1353 km\n"
        "Turn 2 of 10.\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.decode(subagent.turns[-1].prompt_ids) == (
        "<|im_start|>system\n"
        "Subagent. Search, read, then answer the subtask.\n"
        "search(queries:[{query,count?}])\n"
        "access(urls:[{url,info_to_extract?}])<|im_end|>\n"
        "<|im_start|>user\n"
        "Question: List Neptune's moons with their radius.\n"
        "Subtask: radius of Triton\n"
        "Turn 1 of 20.<|im_end|>\n"
        "<|im_start|>assistant\n"
        '<tool_call>{"name": "search", "arguments": {"queries": [{"query": "Triton"}]}}</tool_call>'
        "<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n"
        "Query: Triton\n"
        "[1] https://moons.example/triton\n"
        "Triton has a radius of 1353 km.\n"
        "Turn 2 of 20.\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
        '<tool_call>{"name": "access", "arguments": {"urls": '
        '[{"url": "https://moons.example/triton"}, {"url": "https://moons.example/none"}]}}'
        "</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n"
        "https://moons.example/triton\nTriton has a radius of 1353 km.\n"
        "https://moons.example/none\nno content\n"
        "Turn 3 of 20.\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


async def test_each_prompt_extends_the_turn_before_it(
    world: World, task: Task, tokenizer: ChatTokenizer
) -> None:
    team = Team(TeamConfig(prompts="compact"), ScriptedPolicy(play, tokenizer), world, world)
    for trajectory in (await team.run(task)).trajectories:
        for turn, following in zip(trajectory.turns, trajectory.turns[1:], strict=False):
            before = turn.prompt_ids + turn.response_ids
            assert following.prompt_ids[: len(before)] == before
            assert len(turn.logprobs) == len(turn.response_ids)


@pytest.mark.parametrize(("rows", "known"), [(4, [0, 1, 2]), (150, [2]), (900, [2])])
async def test_earlier_answers_that_do_not_fit_are_left_out_or_shortened(
    rows: int, known: list[int], tokenizer: ChatTokenizer, world: World, task: Task
) -> None:
    asked: list[str] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        asked.append(messages[-1].content)
        return "done"

    table = "".join(f"| moon {number} |\n" for number in range(rows))
    earlier = [Exchange(question=f"question {n}?", answer=f"| A |\n{table}") for n in range(3)]
    policy = ScriptedPolicy(respond, tokenizer, context_tokens=2000)
    episode = await Team(SINGLE, policy, world, world).run(task, earlier=earlier)
    assert (episode.answer, episode.main.status) == ("done", Status.FINISHED)
    (text,) = asked
    assert [n for n in range(3) if f"question {n}?" in text] == known
    assert task.question in text
    assert "moon 1 " in text
