"""The agents that answer: their models, their prompts, and what they search and read."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from pydantic import model_validator

from wideseek_agents import Team, TeamConfig
from wideseek_apps.policy import LocalPolicy, PolicyConfig, open_policy
from wideseek_apps.profiles import taught_team
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
    team: TeamConfig = TeamConfig()
    """How the agents work. What a local model's folder says of it comes before the defaults."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_models_were_taught(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        raw = cast(dict[str, Any], values)
        policy = raw.get("policy", cls.model_fields["policy"].default)
        return raw | {"team": taught_team(raw.get("team"), policy, raw.get("subagent_policy"))}


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
