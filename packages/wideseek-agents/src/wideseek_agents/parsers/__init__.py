"""Formats in which models write tool calls: plug-ins of `wideseek.tool_call_parsers`."""

from wideseek_agents.parsers.foreign import foreign_calls
from wideseek_agents.parsers.protocol import ToolCallParser
from wideseek_agents.parsers.registry import parser_named, parser_names

__all__ = ["ToolCallParser", "foreign_calls", "parser_named", "parser_names"]
