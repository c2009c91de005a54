"""Typed configuration: YAML plus dotted overrides into pydantic classes, errors in one clear line.

Defaults live in the classes; a YAML file holds only what differs. This is also the one place that
reads and sets environment variables.
"""

import copy
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from wideseek_core.arguments import is_yaml, split_arguments
from wideseek_core.errors import ConfigError
from wideseek_core.exits import HelpRequested, exit_on_error
from wideseek_core.explain import explain
from wideseek_core.fields import describe, help_text, kind_of, models_in
from wideseek_core.shown_settings import hidden_key, hide_in_override
from wideseek_core.typed_yaml import settle
from wideseek_core.yaml_values import PlainScalar, load_raw, plain

__all__ = [
    "USAGE",
    "Config",
    "ConfigError",
    "HelpRequested",
    "Loaded",
    "apply",
    "cache_folder",
    "complete",
    "data_folder",
    "describe",
    "environment",
    "exit_on_error",
    "help_text",
    "load_arguments",
    "load_config",
    "merge",
    "read_yaml",
    "secret",
    "set_environment_default",
    "validate",
]

USAGE = "[CONFIG.yaml ...] [KEY=VALUE ...]"

logger = logging.getLogger(__name__)


class Config(BaseModel):
    """Root of all configuration classes: frozen, unknown keys are errors.

    A string literal below a field is its documentation, which `--help` shows. `~` at the beginning
    of a path is the home folder.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="after")
    @classmethod
    def _expand_home(cls, value: object) -> object:
        if isinstance(value, Path):
            return _expanded(value)
        if isinstance(value, tuple):
            items = cast(tuple[object, ...], value)
            if any(isinstance(item, Path) for item in items):
                return tuple(_expanded(item) if isinstance(item, Path) else item for item in items)
        return cast(object, value)


C = TypeVar("C", bound=Config)


def _expanded(path: Path) -> Path:
    if not path.parts or not path.parts[0].startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("there is no home folder here: give the path in full") from None


def secret(name: str) -> SecretStr | None:
    """The environment variable `name` as a secret; None if unset or empty."""
    value = os.environ.get(name, "").strip()
    return SecretStr(value) if value else None


def environment(name: str, default: str = "") -> str:
    """The environment variable `name`, for what is not secret."""
    return os.environ.get(name, default)


def take_environment(name: str) -> str:
    """The environment variable `name`, which processes that are started later do not get."""
    return os.environ.pop(name, "")


def set_environment_default(name: str, value: str) -> None:
    """Sets an environment variable that the user has not set, for libraries loaded later."""
    os.environ.setdefault(name, value)


def child_environment(values: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process to start: this one's, with some variables set."""
    return os.environ | dict(values)


def data_folder() -> Path | None:
    """The folder of large data sets that tests and benchmarks try if it is there: `$WIDESEEK_DATA`.

    None if the variable is not set.
    """
    chosen = os.environ.get("WIDESEEK_DATA", "")
    return Path(chosen) if chosen else None


def cache_folder() -> Path:
    """Where built indexes and caches go: `$WIDESEEK_CACHE`, else `~/.cache/wideseek`.

    A user without a home folder gets one below the folder of temporary files. Raises `ConfigError`
    if that one belongs to somebody else.
    """
    chosen = os.environ.get("WIDESEEK_CACHE", "")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise ConfigError(f"WIDESEEK_CACHE={chosen}: there is no home folder here") from None
    try:
        return Path.home() / ".cache" / "wideseek"
    except RuntimeError:
        return _temporary_cache()


def _temporary_cache() -> Path:
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"wideseek-cache-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != user:
        raise ConfigError(f"{folder} belongs to another user: set WIDESEEK_CACHE to a folder")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[C]):
    """A config and what else the command line asked for."""

    config: C
    dry_run: bool
    """Whether to check and show the configuration instead of using it."""


def load_config(
    cls: type[C],
    arguments: Sequence[str],
    *,
    positional: Sequence[str] = (),
    sentence: str | None = None,
    usage: str = USAGE,
) -> C:
    """A config from `[CONFIG.yaml ...] [a.b=c ...]`; later arguments win.

    Words that are neither file nor override go to the keys named in `positional`, one each, or all
    together to the key `sentence`. Raises `ConfigError` (one line, names the key, the value and the
    nearest known key) and `HelpRequested`.
    """
    loaded = load_arguments(cls, arguments, positional=positional, sentence=sentence, usage=usage)
    if loaded.dry_run:
        raise ConfigError("unknown option '--dry-run': give CONFIG.yaml or key=value")
    return loaded.config


def load_arguments(
    cls: type[C],
    arguments: Sequence[str],
    *,
    positional: Sequence[str] = (),
    sentence: str | None = None,
    usage: str = USAGE,
) -> Loaded[C]:
    """The same for a command that has `--dry-run`."""
    takes_words = bool(positional) or sentence is not None
    found = split_arguments(arguments, cls.model_fields, words=takes_words)
    if found.help is not None:
        raise HelpRequested(help_text(cls, found.help, usage))
    raw: dict[str, Any] = {}
    given: dict[str, object] = {}
    for argument in found.settings:
        if "=" in argument and not is_yaml(argument):
            apply(raw, argument)
            key = argument.partition("=")[0]
            given[key] = _value_at(raw, key)
        else:
            merge(raw, _read_raw(Path(argument), _meant_by(cls, argument, takes_words)))
    _warn_replaced(given, raw)
    if key := hidden_key(plain(raw)):
        raise ConfigError(f"{key}: a secret was left out where this was shown; give it again")
    words = found.words
    if sentence is not None and words:
        raw[sentence] = " ".join(words)
    elif len(words) > len(positional):
        raise ConfigError(f"unexpected argument {words[len(positional)]!r}: usage: {usage}")
    else:
        raw |= dict(zip(positional, words, strict=False))
    return Loaded(config=validate(cls, raw), dry_run=found.dry_run)


def _warn_replaced(given: Mapping[str, object], raw: dict[str, Any]) -> None:
    """Names settings of the command line that a file behind them has changed."""
    for key, value in given.items():
        if not _holds(_value_at(raw, key), value):
            logger.warning(
                "%s: what was given is replaced by a later argument; put settings behind files", key
            )


def _value_at(raw: dict[str, Any], key: str) -> object:
    found: object = plain(raw)
    for name in key.split("."):
        found = cast(dict[str, Any], found).get(name) if isinstance(found, dict) else None
    return found


def _holds(found: object, given: object) -> bool:
    """Whether a value is what was given, keys that were added to a mapping aside."""
    if isinstance(found, dict) and isinstance(given, dict):
        below = cast(dict[str, object], found)
        items = cast(dict[str, object], given).items()
        return all(name in below and _holds(below[name], value) for name, value in items)
    return found == given


def validate(cls: type[C], raw: dict[str, Any]) -> C:
    """`cls` from raw values; its first problem in one line. Raises `ConfigError`."""
    try:
        return cls.model_validate(settle(cls, complete(cls, raw)))
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
            whole[name] = complete(type(default), _over_default(_explicit(default), below))
        elif (model := _model_of(field.annotation, below)) is not None:
            whole[name] = complete(model, below)
    return whole


def _same_kind(default: BaseModel, given: dict[str, Any]) -> bool:
    return "kind" not in given or given["kind"] == getattr(default, "kind", given["kind"])


def _over_default(default: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is given on top of a default; of one that has another kind nothing remains."""
    for key, value in given.items():
        below = default.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            base, update = cast(dict[str, Any], below), cast(dict[str, Any], value)
            same = update.get("kind", base.get("kind")) == base.get("kind")
            default[key] = _over_default(base, update) if same else update
        else:
            default[key] = value
    return default


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
    return cast(dict[str, Any], plain(_read_raw(path)))


def _meant_by(cls: type[Config], argument: str, takes_words: bool) -> str:
    """What else than a file an argument may be meant for, as the end of an error's line."""
    if takes_words:
        return "; a question with such a word is quoted, or stands behind --"
    if ":" in argument:
        return "; a setting is written key=value"
    known = argument.partition(".")[0] in cls.model_fields
    return f"; a setting is written {argument}=VALUE" if known else ""


def _read_raw(path: Path, hint: str = "") -> dict[str, Any]:
    """The same with plain scalars as they were written; `hint` ends the line of a missing file."""
    try:
        value = load_raw(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such config file: {path}{hint}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{path}{line}: {problem}") from None
    if value is None or plain(value) is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(plain(value)).__name__}")
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
    """Puts one `a.b=value` into raw values; the value is read as YAML. Raises `ConfigError`."""
    dotted, _, text = override.partition("=")
    shown = hide_in_override(override)
    *parents, leaf = dotted.split(".")
    if not all([*parents, leaf]):
        raise ConfigError(f"{shown!r}: the key has an empty part; write key=value")
    if not text.strip():
        raise ConfigError(f"{shown!r}: no value; write {dotted}=null or {dotted}='' for none")
    node = raw
    for name in parents:
        below = node.setdefault(name, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{shown!r}: {name!r} is a value, it has no keys")
        node = cast(dict[str, Any], below)
    try:
        node[leaf] = _override_value(text.strip())
    except yaml.YAMLError:
        raise ConfigError(f"{shown!r}: the value is not YAML") from None


def _override_value(text: str) -> object:
    """The value of an override. A mapping has braces there; other text with a colon is a text."""
    value = load_raw(text)
    if isinstance(value, dict) and not text.startswith("{"):
        return PlainScalar(text)
    return cast(object, value)
