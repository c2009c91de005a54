"""Parsers by name: the built-in ones and those of installed plug-ins."""

from typing import cast

from wideseek_agents.parsers.hermes import HermesParser
from wideseek_agents.parsers.llama import LlamaParser
from wideseek_agents.parsers.protocol import ToolCallParser
from wideseek_agents.parsers.qwen3_coder import Qwen3CoderParser
from wideseek_core import ConfigError
from wideseek_core.plugins import installed

GROUP = "wideseek.tool_call_parsers"
_BUILT_IN: dict[str, ToolCallParser] = {
    "hermes": HermesParser(),
    "hermes_strict": HermesParser(strict=True),
    "llama": LlamaParser(),
    "qwen3_coder": Qwen3CoderParser(),
}


def parser_names() -> list[str]:
    """The names that a configuration may give."""
    return sorted({*_BUILT_IN, *installed(GROUP)})


def parser_named(name: str) -> ToolCallParser:
    """The parser of a name; a plug-in is an object with the methods of `ToolCallParser`.

    Raises `ConfigError`.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    plugins = installed(GROUP)
    if name not in plugins:
        raise ConfigError(
            f"no parser of tool calls {name!r}: the known ones are {', '.join(parser_names())}"
        )
    return cast(ToolCallParser, plugins[name])
