"""Optional dependencies: what a feature needs that a plain installation does not bring."""

import sys
from importlib.util import find_spec

from wideseek_core.errors import ConfigError


def require_modules(*modules: str, feature: str, install: str) -> None:
    """Checks that top-level modules of an extra are installed; none of them is imported.

    Example: `require_modules("mcp", feature="the MCP server", install="wideseek-tools[mcp]")`.
    Raises `ConfigError` that names the first missing module and the command that installs it.
    """
    missing = next((module for module in modules if not _installed(module)), None)
    if missing is not None:
        line = f"{feature} needs: pip install {install!r} (there is no module {missing!r})"
        raise ConfigError(line)


def _installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules.get(module) is not None  # None is how an import is blocked
    found = find_spec(module)
    return found is not None and found.origin is not None  # not a mere folder of that name
