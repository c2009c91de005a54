"""Everything fails now and then: every rollout ends with a status, and the counts add up."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from wideseek_agents import (
    AgentEnded,
    AgentStarted,
    Event,
    LeadConfig,
    ScriptedPolicy,
    Team,
    TeamConfig,
    ToolAnswered,
)
from wideseek_core import (
    Document,
    Message,
    Page,
    PolicyUnavailable,
    Status,
    Task,
    ToolSpec,
    ToolUnavailable,
)

from .conftest import World, call, delegate

FAULTS: list[type[Exception]] = [ToolUnavailable, KeyError, OSError, RecursionError]


class Unreliable(World):
    """Three in ten requests fail."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def search(self, query: str, k: int) -> list[Document]:
        self._fail()
        return await super().search(query, k)

    async def read(self, url: str) -> Page:
        self._fail()
        return await super().read(url)

    def _fail(self) -> None:
        if self._rng.random() < 0.3:
            raise self._rng.choice(FAULTS)("broken")


def model(rng: random.Random, gone: float) -> ScriptedPolicy:
    """A model of which one call in twenty is malformed, and that is gone now and then."""

    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        await asyncio.sleep(0)
        if rng.random() < gone:
            raise PolicyUnavailable("the engine was killed")
        if rng.random() < 0.05:
            return rng.choice(["<tool_call>{", call("find", x=1), "<tool_call>[]</tool_call>"])
        if rng.random() < 0.3:
            return "done"
        if tools[0].name == "create_sub_agents":
            return delegate(*(f"subtask {number}" for number in range(rng.randint(1, 4))))
        return call("search", queries=[{"query": "Triton"}]) + call("access", urls=["u", "v"])

    return ScriptedPolicy(respond)


@pytest.mark.parametrize("seed", range(10))
async def test_every_rollout_ends_and_its_counts_add_up(seed: int, task: Task) -> None:
    rng = random.Random(seed)
    web, policy = Unreliable(rng), model(rng, gone=0.03)
    team = Team(TeamConfig(prompts="compact", lead=LeadConfig(max_turns=5)), policy, web, web)
    events: list[Event] = []
    before = asyncio.all_tasks()
    async with asyncio.timeout(300):
        episodes = await asyncio.gather(
            *(team.run(task, trial=trial, on_event=events.append) for trial in range(8))
        )
    assert asyncio.all_tasks() == before
    agents = [agent for episode in episodes for agent in episode.trajectories]
    started = [event for event in events if isinstance(event, AgentStarted)]
    assert len(started) == len(agents)
    assert len([event for event in events if isinstance(event, AgentEnded)]) == len(agents)
    results = [result for agent in agents for turn in agent.turns for result in turn.results]
    assert len([event for event in events if isinstance(event, ToolAnswered)]) == len(results)
    created = sum(result.agent is not None for result in results)
    assert created == len(agents) - len(episodes)
    for episode in episodes:
        assert bool(episode.error) == (episode.main.status is Status.ERROR)
        turns = sum(len(agent.turns) for agent in episode.trajectories)
        assert sum(part.requests for part in episode.usage) == turns
        assert bool(episode.answer) == (episode.main.status is Status.FINISHED)
    for agent in agents:
        assert bool(agent.error) == (agent.status is Status.ERROR)
        assert "<tool_call>" not in agent.answer
