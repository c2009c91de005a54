"""The agents that answer: their models, their prompts, and what they search and read."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from pydantic import model_validator

from wideseek_agents import Team, TeamConfig
from wideseek_apps.policy import (
    HelperPolicy,
    LocalPolicy,
    OpenModel,
    PolicyConfig,
    RolloutPolicy,
    open_helper,
    open_model,
    open_policy,
)
from wideseek_apps.profiles import taught_policy, taught_team
from wideseek_apps.world import AtlasWorld, WorldConfig, open_world
from wideseek_core import Config
from wideseek_core.search import PageSource, SearchBackend

if TYPE_CHECKING:
    from wideseek_apps.evidence import Evidence


_MODELS = ("policy", "subagent_policy")


class TeamsConfig(Config):
    """Who answers, and with what. Shared by the apps that ask a policy."""

    policy: PolicyConfig = LocalPolicy(temperature=0.0)
    subagent_policy: PolicyConfig | None = None
    """A second model for the subagents; null for the same."""
    summarizer: HelperPolicy | None = None
    """A model that summarizes pages where `team.use_access_summary` is set; `kind: rollout` is
    that of `policy` itself."""
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
        models = {key: taught_policy(raw[key]) for key in _MODELS if key in raw}
        team = taught_team(raw.get("team"), policy, raw.get("subagent_policy"))
        return raw | models | {"team": team}


@asynccontextmanager
async def open_team(
    config: TeamsConfig, evidence: "Evidence | None" = None
) -> AsyncGenerator[Team]:
    """Models, tools and prompts, joined. `evidence` collects what the agents read."""
    async with (
        open_model(config.policy, with_greedy=shares_model(config.summarizer)) as model,
        team_of(config, model, evidence) as team,
    ):
        yield team


def shares_model(helper: HelperPolicy | None) -> bool:
    """Whether a helper is the model of the rollouts."""
    return isinstance(helper, RolloutPolicy)


@asynccontextmanager
async def team_of(
    config: TeamsConfig, model: OpenModel, evidence: "Evidence | None" = None
) -> AsyncGenerator[Team]:
    """The team of a model that is open."""
    async with AsyncExitStack() as stack:
        tools = await stack.enter_async_context(open_world(config.world))
        subagents = config.subagent_policy
        others = None if subagents is None else open_policy(subagents)
        search: SearchBackend = tools.search
        pages: PageSource = tools.pages
        if evidence is not None:
            search, pages = evidence.watch_search(search), evidence.watch_pages(pages)
        yield Team(
            config.team,
            model.policy,
            search,
            pages,
            subagent_policy=None if others is None else await stack.enter_async_context(others),
            summarizer=await stack.enter_async_context(
                open_helper(config.summarizer, model.greedy)
            ),
        )
