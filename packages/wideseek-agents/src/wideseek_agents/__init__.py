"""A lead agent, parallel subagents and a single agent in one loop over any policy."""

from wideseek_agents.arguments import Argument, ArgumentSchema, Request
from wideseek_agents.budget import BudgetConfig
from wideseek_agents.config import AgentConfig, LeadConfig, SingleConfig, TeamConfig
from wideseek_agents.events import (
    AgentEnded,
    AgentStarted,
    Event,
    OnEvent,
    ToolAnswered,
    TurnTaken,
)
from wideseek_agents.parsed_calls import CallProblem, ParsedCall, ParsedCalls, parse_tool_calls
from wideseek_agents.policies import ChatPolicy, ChatPolicyConfig, ScriptedPolicy, TokenPolicy
from wideseek_agents.prompts import PromptSet
from wideseek_agents.team import Exchange, Team
from wideseek_agents.tokens import ChatTokenizer
from wideseek_agents.tools import Spawn, ToolContext, ToolDefinition
from wideseek_core.usage import Price

__all__ = [
    "AgentConfig",
    "AgentEnded",
    "AgentStarted",
    "Argument",
    "ArgumentSchema",
    "BudgetConfig",
    "CallProblem",
    "ChatPolicy",
    "ChatPolicyConfig",
    "ChatTokenizer",
    "Event",
    "Exchange",
    "LeadConfig",
    "OnEvent",
    "ParsedCall",
    "ParsedCalls",
    "Price",
    "PromptSet",
    "Request",
    "ScriptedPolicy",
    "SingleConfig",
    "Spawn",
    "Team",
    "TeamConfig",
    "TokenPolicy",
    "ToolAnswered",
    "ToolContext",
    "ToolDefinition",
    "TurnTaken",
    "parse_tool_calls",
]
