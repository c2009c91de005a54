"""Tools by name: the built-in ones and those of installed plug-ins."""

from wideseek_agents.tools import access, create_sub_agents, search
from wideseek_agents.tools.protocol import ToolDefinition
from wideseek_core import ConfigError
from wideseek_core.plugins import installed

GROUP = "wideseek.agent_tools"
_BUILT_IN = (search.DEFINITION, access.DEFINITION, create_sub_agents.DEFINITION)


def tool_definitions() -> dict[str, ToolDefinition]:
    """All tools that a configuration may name.

    Raises `ConfigError` for an installed object that is no `ToolDefinition`, or whose name is
    taken already.
    """
    known = {definition.name: definition for definition in _BUILT_IN}
    for name, plugin in installed(GROUP).items():
        if not isinstance(plugin, ToolDefinition):
            raise ConfigError(f"plug-in {name!r} of {GROUP} is no ToolDefinition")
        if plugin.name in known:
            raise ConfigError(f"plug-in {name!r} of {GROUP}: the tool {plugin.name!r} exists")
        known[plugin.name] = plugin
    return known


def tool_named(name: str, key: str) -> ToolDefinition:
    """The tool of a name; `key` is where the name was given. Raises `ConfigError`."""
    known = tool_definitions()
    if name not in known:
        raise ConfigError(f"{key}: no tool {name!r}: the known ones are {', '.join(sorted(known))}")
    return known[name]
