"""A policy of a plug-in that raises what no policy should: it costs one agent, not its rollout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from wideseek_agents import ScriptedPolicy, Team
from wideseek_core import (
    Conversation,
    Message,
    Policy,
    PolicyError,
    Reply,
    Status,
    Task,
    ToolSpec,
)

from .conftest import COMPACT, SINGLE, World, delegate, roles, turns

Place = Literal["open", "reply", "close"]


@dataclass(slots=True)
class Faulty:
    """A policy whose own code has a fault, in a conversation or at its ends."""

    inner: Policy
    place: Place
    closing: type[Exception] = ZeroDivisionError
    """What the end of the conversation raises, if the fault is there."""
    opened: int = 0
    number: int = 0
    """Of the conversation that has the fault, from 0 in the order in which they are opened."""

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        here = self.opened == self.number
        self.opened += 1
        if here and self.place == "open":
            raise KeyError("seed")
        return FaultyConversation(
            self.inner.open(tools), self.place if here else None, self.closing
        )


@dataclass(slots=True)
class FaultyConversation:
    inner: Conversation
    place: Place | None
    closing: type[Exception]

    async def reply(self, messages: Sequence[Message]) -> Reply:
        if self.place == "reply":
            raise TimeoutError  # of a client of its own
        return await self.inner.reply(messages)

    async def close(self) -> None:
        await self.inner.close()
        if self.place == "close":
            raise self.closing


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("open", "PolicyError: the policy raised KeyError: 'seed'"),
        ("reply", "PolicyError: the policy raised TimeoutError"),
    ],
)
async def test_a_fault_costs_its_agent_alone(
    place: Place, error: str, world: World, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    script = ScriptedPolicy(roles(turns(delegate("a", "b"), "answer"), turns("ok")))
    episode = await Team(COMPACT, Faulty(script, place, number=1), world, world).run(task)
    assert (episode.answer, episode.error) == ("answer", "")
    assert [t.status for t in episode.trajectories] == [
        Status.FINISHED,
        Status.ERROR,
        Status.FINISHED,
    ]
    assert [(r.text, r.ok) for r in episode.main.turns[0].results] == [
        ("failed", False),
        ("ok", True),
    ]
    assert episode.trajectories[1].error == error
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("place", ["open", "reply"])
async def test_a_fault_of_the_answering_agent_ends_its_episode_with_what_it_was(
    place: Place, world: World, task: Task
) -> None:
    policy = Faulty(ScriptedPolicy(turns("fine")), place)
    team = Team(SINGLE, policy, world, world)
    bad, good = await team.run(task), await team.run(task)
    assert bad.error.startswith("PolicyError: the policy raised ")
    assert bad.main.status is Status.ERROR
    assert (good.answer, good.error) == ("fine", "")


@pytest.mark.parametrize("closing", [ZeroDivisionError, PolicyError])
async def test_an_answer_outlives_a_conversation_that_can_not_be_closed(
    closing: type[Exception], world: World, task: Task
) -> None:
    policy = Faulty(ScriptedPolicy(turns("fine")), "close", closing)
    episode = await Team(SINGLE, policy, world, world).run(task)
    assert (episode.answer, episode.error) == ("fine", "")
