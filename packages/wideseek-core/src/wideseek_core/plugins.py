"""Plug-ins: implementations that installed distributions add to WideSeek through entry points.

Every place that can be extended has an entry-point group (`wideseek.search_backends`, ...). A
distribution announces an object under a name in that group; nothing of WideSeek is edited. What
the object has to be is said where the group is used: a function, or a `Plugin` where the
extension has a configuration of its own.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Union, cast

from pydantic import BaseModel, BeforeValidator, Field

from wideseek_core.errors import ConfigError
from wideseek_core.fields import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An implementation with its configuration.

    Example: `Plugin(config=ExaConfig, open=open_exa)`, where `ExaConfig.kind` is `"exa"`.
    """

    config: type[BaseModel]
    """The configuration class; the default of its field `kind` names the implementation."""
    open: Callable[..., Any]
    """Makes the implementation from its configuration, as the group's documentation says."""


@cache
def installed(group: str) -> dict[str, object]:
    """The objects that installed distributions announce in an entry-point group, by name.

    Each is imported once a process. Raises `ConfigError` naming the entry point for one that can't
    be imported, and for two of the same name.
    """
    found: dict[str, object] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        if entry.name in found:
            raise ConfigError(f"two installed plug-ins of {group} are named {entry.name!r}")
        found[entry.name] = _load(entry)
    return found


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except Exception as error:  # a plug-in's import can raise anything
        problem = f"{type(error).__name__}: {error}"
        if _is_being_imported(entry.module):
            # It imports the package that looks for plug-ins, which can't finish before it has.
            problem = f"{entry.module} was imported before the package that it extends"
        raise ConfigError(f"plug-in {entry.name!r} of {entry.group}: {problem}") from error


def _is_being_imported(module: str) -> bool:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def kind_union(group: str, *builtin: type[BaseModel], default: str = "") -> Any:
    """A pydantic type that accepts one of several configuration classes, told apart by `kind`.

    The classes are the built-in ones and those of the `Plugin` objects that are installed in
    `group`. Settings without a `kind` are of the kind `default`, if one is given.

    Raises `ConfigError` for an installed object that is no `Plugin`, or whose kind is taken
    already.
    """
    classes = {kind_of(config): config for config in builtin}
    for name, plugin in installed(group).items():
        if not isinstance(plugin, Plugin):
            raise ConfigError(f"plug-in {name!r} of {group} is no wideseek_core.plugins.Plugin")
        kind = kind_of(plugin.config)
        if kind is None or kind in classes:
            raise ConfigError(f"plug-in {name!r} of {group}: its kind {kind!r} can't be used")
        classes[kind] = plugin.config
    members = tuple(classes.values())
    if len(members) == 1:
        return members[0]
    union = Annotated[Union[members], Field(discriminator="kind")]  # noqa: UP007 - made at run time
    return Annotated[union, BeforeValidator(_kind_default(default))] if default else union


def _kind_default(kind: str) -> Callable[[object], object]:
    def fill(given: object) -> object:
        return {"kind": kind} | cast(dict[str, Any], given) if isinstance(given, dict) else given

    return fill


def opener(group: str, config: BaseModel) -> Callable[..., Any]:
    """The `open` of the installed plug-in that a configuration belongs to.

    Raises `ConfigError` if no plug-in of `group` has this class of configuration.
    """
    for plugin in installed(group).values():
        if isinstance(plugin, Plugin) and type(config) is plugin.config:
            return plugin.open
    raise ConfigError(f"nothing in {group} opens a {type(config).__name__}")
