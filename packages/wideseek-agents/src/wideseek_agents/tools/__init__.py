"""What agents can call, one folder a tool: code, argument schema, and its words per language.

Further tools are plug-ins: a `ToolDefinition` in the entry-point group `wideseek.agent_tools`.
"""

from wideseek_agents.tools.protocol import (
    AgentTool,
    Answer,
    NoSettings,
    Spawn,
    Spend,
    ToolContext,
    ToolDefinition,
    call_tool,
)
from wideseek_agents.tools.registry import tool_definitions, tool_named
from wideseek_agents.tools.words import ToolWords, read_words

__all__ = [
    "AgentTool",
    "Answer",
    "NoSettings",
    "Spawn",
    "Spend",
    "ToolContext",
    "ToolDefinition",
    "ToolWords",
    "call_tool",
    "read_words",
    "tool_definitions",
    "tool_named",
]
