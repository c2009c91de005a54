"""Agents that take too long: each ends by itself, and nobody waits for it."""

import pytest

from wideseek_agents import AgentConfig, LeadConfig, SingleConfig, Team
from wideseek_core import Status, Task
from wideseek_core.testing import in_simulated_time

from .conftest import COMPACT, SINGLE, Watched, World, call, delegate, roles, turns


@pytest.mark.parametrize("deadline", [0.5, 30.0])
@in_simulated_time
async def test_a_subagent_that_misses_its_deadline_gives_no_report(
    world: World, task: Task, deadline: float
) -> None:
    search = call("search", queries=[{"query": "Triton"}])
    lead = turns(delegate("hang", "look"), "| Moon |\n| --- |\n| Triton |")
    policy = Watched(roles(lead, turns(search, "Triton")))
    config = COMPACT.model_copy(update={"subagent": AgentConfig(deadline_s=deadline)})
    episode = await Team(config, policy, world, world).run(task)
    main, late, other = episode.trajectories
    assert (main.status, episode.error) == (Status.FINISHED, "")
    assert (late.status, late.error) == (Status.ABORTED, "the agent missed its deadline")
    assert (other.status, other.answer) == (Status.FINISHED, "Triton")
    assert [result.ok for result in main.turns[0].results] == [False, True]
    assert policy.open_now == 0


@in_simulated_time
async def test_a_rollout_whose_answering_agent_misses_its_deadline_fails(
    world: World, task: Task
) -> None:
    policy = Watched(roles(turns(delegate("hang"), "end"), turns("report")))
    config = COMPACT.model_copy(update={"lead": LeadConfig(deadline_s=2.0)})
    episode = await Team(config, policy, world, world).run(task)
    assert episode.error == "the agent missed its deadline"
    assert [agent.status for agent in episode.trajectories] == [Status.ABORTED] * 2
    assert len(episode.main.turns) == 1
    assert policy.open_now == 0


@in_simulated_time
async def test_a_deadline_does_not_lose_a_draft(world: World, task: Task) -> None:
    draft = "| Moon | Radius |\n| --- | --- |\n| Triton | |"
    policy = Watched(turns(draft), hang=lambda message: message.content.startswith("Check:"))
    config = SINGLE.model_copy(
        update={"coverage_audit": True, "single": SingleConfig(deadline_s=2.0)}
    )
    episode = await Team(config, policy, world, world).run(task)
    assert (episode.answer, episode.error) == (draft, "")
    assert (episode.main.status, episode.main.error) == (Status.FINISHED, "")
