"""Typed configuration: YAML plus dotted overrides into pydantic classes, errors in one clear line.

Defaults live in the classes; a YAML file holds only what differs. This is also the one place that
reads environment variables.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from wideseek_core.errors import ConfigError
from wideseek_core.exits import HelpRequested, exit_on_error
from wideseek_core.explain import explain
from wideseek_core.fields import describe, kind_of, models_in

__all__ = [
    "Config",
    "ConfigError",
    "HelpRequested",
    "apply",
    "cache_folder",
    "complete",
    "describe",
    "environment",
    "exit_on_error",
    "load_config",
    "merge",
    "read_yaml",
    "secret",
    "validate",
]

USAGE = "Give [CONFIG.yaml ...] [key=value ...]; what comes later wins. Keys, types and defaults:"


class Config(BaseModel):
    """Root of all configuration classes: frozen, unknown keys are errors.

    A string literal below a field is its documentation, which `--help` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


C = TypeVar("C", bound=Config)


def secret(name: str) -> SecretStr | None:
    """The environment variable `name` as a secret; None if unset or empty."""
    value = os.environ.get(name, "").strip()
    return SecretStr(value) if value else None


def environment(name: str, default: str = "") -> str:
    """The environment variable `name`, for what is not secret."""
    return os.environ.get(name, default)


def cache_folder() -> Path:
    """Where built indexes and caches go: `$WIDESEEK_CACHE`, else `~/.cache/wideseek`."""
    chosen = os.environ.get("WIDESEEK_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "wideseek"


def load_config(cls: type[C], arguments: Sequence[str]) -> C:
    """A config from `[CONFIG.yaml ...] [a.b=c ...]`; later arguments win.

    Raises `ConfigError` (one line, names the key, the value and the nearest known key) and
    `HelpRequested`.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        raise HelpRequested(f"{USAGE}\n\n{describe(cls)}")
    raw: dict[str, Any] = {}
    for argument in arguments:
        if "=" in argument and not _is_yaml(argument):
            apply(raw, argument)
        elif argument.startswith("-"):
            raise ConfigError(f"unknown option {argument!r}: give CONFIG.yaml or key=value")
        else:
            merge(raw, read_yaml(Path(argument)))
    return validate(cls, raw)


def _is_yaml(argument: str) -> bool:
    """Whether an argument with a `=` in it is a file's name all the same."""
    return argument.endswith((".yaml", ".yml")) and Path(argument).is_file()


def validate(cls: type[C], raw: dict[str, Any]) -> C:
    """`cls` from raw values; its first problem in one line. Raises `ConfigError`."""
    try:
        return cls.model_validate(complete(cls, raw))
    except ValidationError as error:
        raise ConfigError(explain(cls, error)) from None


def complete(cls: type[BaseModel], raw: dict[str, Any]) -> dict[str, Any]:
    """Raw values on top of what the defaults of their parents set.

    Pydantic alone would replace a default object as a whole: `data.limit=4` would lose the other
    keys of `data: DataConfig = AtlasData(split="dev")`, its kind first of all.
    """
    whole = dict(raw)
    for name, field in cls.model_fields.items():
        given = whole.get(name)
        if not isinstance(given, dict):
            continue
        below = cast(dict[str, Any], given)
        default: object = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, BaseModel) and _same_kind(default, below):
            base = _explicit(default)
            merge(base, below)
            whole[name] = complete(type(default), base)
        elif (model := _model_of(field.annotation, below)) is not None:
            whole[name] = complete(model, below)
    return whole


def _same_kind(default: BaseModel, given: dict[str, Any]) -> bool:
    return "kind" not in given or given["kind"] == getattr(default, "kind", given["kind"])


def _explicit(default: BaseModel) -> dict[str, Any]:
    """What a default object sets itself, with the tag that says which class it is."""
    values: dict[str, Any] = {}
    if kind_of(type(default)) is not None:
        values["kind"] = kind_of(type(default))
    for name in type(default).model_fields:
        if name in default.model_fields_set:
            value: object = getattr(default, name)
            values[name] = (
                _explicit(value) if isinstance(value, BaseModel) else copy.deepcopy(value)
            )
    return values


def _model_of(annotation: Any, given: dict[str, Any]) -> type[BaseModel] | None:
    """The one class that the given mapping can be meant for, if that is clear."""
    models = models_in(annotation)
    if "kind" in given:
        models = [model for model in models if kind_of(model) == given["kind"]] or models
    return models[0] if len(models) == 1 else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigError` naming the file (and line)."""
    try:
        value: object = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such config file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{path}{line}: {problem}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(value).__name__}")
    return cast(dict[str, Any], value)


def merge(target: dict[str, Any], update: dict[str, Any]) -> None:
    """Puts `update` into `target`, mappings key by key."""
    for key, value in update.items():
        below = target.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merge(cast(dict[str, Any], below), cast(dict[str, Any], value))
        else:
            target[key] = value


def apply(raw: dict[str, Any], override: str) -> None:
    """Puts one `a.b=value` into raw values; the value is read as YAML."""
    dotted, _, text = override.partition("=")
    *parents, leaf = dotted.split(".")
    node = raw
    for name in parents:
        below = node.setdefault(name, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{override!r}: {name!r} is a value, it has no keys")
        node = cast(dict[str, Any], below)
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{override!r}: the value is not YAML") from None
