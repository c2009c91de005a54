"""Typed configuration: YAML plus dotted overrides into pydantic classes, errors in one clear line.

Defaults live in the classes; a YAML file holds only what differs. This is also the one place that
reads environment variables.
"""

import difflib
import json
import os
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from wideseek_core.errors import ConfigError, WideSeekError


class Config(BaseModel):
    """Root of all configuration classes: frozen, unknown keys are errors.

    A string literal below a field is its documentation, which `--help` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


C = TypeVar("C", bound=Config)


class HelpRequested(Exception):  # noqa: N818 - a request, not an error
    """`--help` was given; the message is the text to show."""


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
    raw: dict[str, Any] = {}
    for argument in arguments:
        if argument in ("-h", "--help"):
            raise HelpRequested(describe(cls))
        if "=" in argument and not Path(argument).is_file():
            apply(raw, argument)
        elif argument.startswith("-"):
            raise ConfigError(f"unknown option {argument!r}: give CONFIG.yaml or key=value")
        else:
            merge(raw, read_yaml(Path(argument)))
    return validate(cls, raw)


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
    values = default.model_dump(exclude_unset=True)
    kind = getattr(default, "kind", None)
    return values if kind is None else {"kind": kind, **values}


def _model_of(annotation: Any, given: dict[str, Any]) -> type[BaseModel] | None:
    """The one class that the given mapping can be meant for, if that is clear."""
    models = _models_in(annotation)
    if "kind" in given:
        tagged = [
            model
            for model in models
            if "kind" in model.model_fields and model.model_fields["kind"].default == given["kind"]
        ]
        models = tagged or models
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


def explain(cls: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a validation error, as one line for a person."""
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location) or cls.__name__
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _names_at(cls, location[:-1]), n=1)
        hint = f"; did you mean {'.'.join([*location[:-1], near[0]])!r}?" if near else ""
        return f"unknown key {where!r}{hint}"
    if problem["type"] == "missing":
        return f"missing key {where!r}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = problem.get("input")
    if isinstance(value, dict | list | BaseModel):
        return f"{where}: {message}"
    return f"{where}: {message} (got {value!r})"


def _names_at(cls: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The known keys of the model at `location`, across the members of unions."""
    models = [cls]
    for part in location:
        below: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(part)
            if field is not None:
                below += _models_in(field.annotation)
        models = below or models  # a union's tag is part of the location, but not a field
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def describe(cls: type[BaseModel], prefix: str = "") -> str:
    """Every field of a config class: dotted name, type, default, documentation."""
    return "\n".join(_lines(cls, prefix))


def _lines(cls: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in cls.model_fields.items():
        dotted = f"{prefix}{name}"
        below = _models_in(field.annotation)
        yield f"{dotted}: {_type_name(field.annotation)} = {_default(field, bool(below))}"
        if field.description:
            yield f"    {' '.join(field.description.split())}"
        for model in below:
            yield from _lines(model, f"{dotted}.")


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(part) for part in get_args(annotation))
    if origin is None:
        return getattr(annotation, "__name__", str(annotation))
    parts = get_args(annotation)
    if getattr(origin, "__name__", "") == "Literal" or str(origin).endswith("Literal"):
        return " | ".join(map(str, parts))
    if str(origin).endswith("Annotated"):
        return _type_name(parts[0])
    inner = ", ".join("..." if part is Ellipsis else _type_name(part) for part in parts)
    return f"{origin.__name__}[{inner}]"


def _default(field: FieldInfo, nested: bool) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", None)
        return str(kind) if kind else ("(below)" if nested else "{}")
    if isinstance(value, tuple | list | dict):
        return json.dumps(value, default=str)
    return "null" if value is None else str(value)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turns `--help` into exit 0, and WideSeek's own errors into one line and exit 2.

    A full disk counts among them; Ctrl-C exits with 130.
    """
    try:
        yield
    except HelpRequested as request:
        sys.stdout.write(f"{request}\n")
        raise SystemExit(0) from None
    except WideSeekError as error:
        _fail(f"{type(error).__name__}: {error}")
    except BaseExceptionGroup as group:
        _fail(_first(group))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    except OSError as error:
        # No space, no permission, a file in the place of a folder: the user's to mend.
        _fail(f"{error.strerror or type(error).__name__}: {error.filename or error}")


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    """The one line of a task group's first known error; unknown ones rise as they are."""
    known, rest = group.split(lambda error: isinstance(error, WideSeekError | OSError))
    if rest is not None or known is None:
        raise group
    error: BaseException = known
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return f"{type(error).__name__}: {error}"


def _fail(line: str) -> None:
    sys.stderr.write(" ".join(line.split()) + "\n")
    raise SystemExit(2) from None
