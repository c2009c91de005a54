"""The agents that answer: their models, their prompts, and what they search and read."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from wideseek_agents import Team, TeamConfig
from wideseek_apps.policy import EndpointPolicy, LocalPolicy, PolicyConfig, open_policy
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.world import AtlasWorld, WorldConfig, open_world
from wideseek_core import Config
from wideseek_core.search import PageSource, SearchBackend

if TYPE_CHECKING:
    from wideseek_apps.evidence import Evidence


class TeamsConfig(Config):
    """Who answers, and with what. Shared by the apps that ask a policy."""

    policy: PolicyConfig = LocalPolicy(temperature=0.0)
    subagent_policy: PolicyConfig | None = None
    """A second model for the subagents; null for the same."""
    summarizer: PolicyConfig | None = None
    """A model that summarizes pages where `team.use_access_summary` is set."""
    world: WorldConfig = AtlasWorld()
    team: TeamConfig = ATLAS_TEAM

    @model_validator(mode="after")
    def _prompts_fit(self) -> Self:
        if isinstance(self.policy, EndpointPolicy) and self.team.prompts == ATLAS_TEAM.prompts:
            raise ValueError(
                "team.prompts is 'compact', which only the start policy knows; "
                "start from configs/endpoint.yaml, or set team.prompts=default"
            )
        return self


@asynccontextmanager
async def open_team(
    config: TeamsConfig, evidence: "Evidence | None" = None
) -> AsyncGenerator[Team]:
    """Models, tools and prompts, joined. `evidence` collects what the agents read."""
    async with AsyncExitStack() as stack:
        tools = await stack.enter_async_context(open_world(config.world))
        policy = await stack.enter_async_context(open_policy(config.policy))
        others = [
            None if other is None else await stack.enter_async_context(open_policy(other))
            for other in (config.subagent_policy, config.summarizer)
        ]
        search: SearchBackend = tools.search
        pages: PageSource = tools.pages
        if evidence is not None:
            search, pages = evidence.watch_search(search), evidence.watch_pages(pages)
        yield Team(
            config.team,
            policy,
            search,
            pages,
            subagent_policy=others[0],
            summarizer=others[1],
        )
