"""A lead agent, parallel subagents and a single agent in one loop over any policy."""

from wideseek_agents.answers import boxed_answer, table_answer
from wideseek_agents.calls import Plan, PlannedCall, Request, Shape, plan_calls
from wideseek_agents.config import LeadLimits, Limits, SingleLimits, TeamConfig
from wideseek_agents.events import (
    AgentEnded,
    AgentStarted,
    Event,
    OnEvent,
    ToolAnswered,
    TurnTaken,
)
from wideseek_agents.policies import ChatPolicy, ChatPolicyConfig, ScriptedPolicy, TokenPolicy
from wideseek_agents.prompting import PromptSet
from wideseek_agents.team import Team
from wideseek_agents.tokens import ChatTokenizer

__all__ = [
    "AgentEnded",
    "AgentStarted",
    "ChatPolicy",
    "ChatPolicyConfig",
    "ChatTokenizer",
    "Event",
    "LeadLimits",
    "Limits",
    "OnEvent",
    "Plan",
    "PlannedCall",
    "PromptSet",
    "Request",
    "ScriptedPolicy",
    "Shape",
    "SingleLimits",
    "Team",
    "TeamConfig",
    "TokenPolicy",
    "ToolAnswered",
    "TurnTaken",
    "boxed_answer",
    "plan_calls",
    "table_answer",
]
