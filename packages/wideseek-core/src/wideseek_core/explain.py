"""Says what is wrong with a configuration, in one line that names the key as a user writes it."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wideseek_core.fields import LIST, containers, kind_of, models_in
from wideseek_core.redaction import REDACTED, hide_credentials
from wideseek_core.shown_settings import hide_in_value

MAX_VALUE_CHARS = 80
"""Characters of a refused value that are shown."""

_NOT_A_MAPPING = ("model_type", "model_attributes_type", "dict_type")
_NOT_A_LIST = ("tuple_type", "list_type", "set_type")
_TYPE = re.compile(r"[a-z-]+\[.*\]|str|int|float|bool", re.DOTALL)
"""A member of a plain union, which a location names beside the keys."""
_BARE_CREDENTIALS = re.compile(r"(?<=['\"/])[^/'\":@]+:[^/].*@", re.DOTALL)
"""Of a value that was meant as an address."""
_SPELLED_OTHERWISE = re.compile(r"[/:>-]+|__")
"""What some write between the parts of a key, where a dot is meant."""


def explain(cls: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a validation error, as one line for a person.

    A missing key gives way to an unknown one beside it, which is likely the same key, misspelled.
    """
    problem = _first(error.errors(include_url=False))
    path, models, secret = _place(cls, problem["loc"])
    where, kind = ".".join(path), problem["type"]
    value: object = problem.get("input")
    shown = (
        "" if secret or isinstance(value, dict | list | BaseModel) else f" (got {_short(value)})"
    )
    if kind == "extra_forbidden":
        return f"unknown key {where!r}{_hint(cls, path, models)}"
    if kind == "missing":
        return f"missing key {where!r}"
    if kind == "union_tag_not_found":
        return f"missing key '{where}.kind'"
    if kind == "union_tag_invalid":
        return _unknown_kind(where, problem.get("ctx", {}))
    if kind in _NOT_A_MAPPING:
        return f"{where}: {_keys_wanted(where, _below(cls, path), problem['input'])}{shown}"
    if kind in _NOT_A_LIST:
        return f"{where}: a list is wanted, such as {where}=[A,B]{shown}"
    message = hide_credentials(problem["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    return f"{where}: {message}{shown}" if where else message


def _first(problems: Sequence[ErrorDetails]) -> ErrorDetails:
    first = problems[0]
    if first["type"] != "missing":
        return first
    unknown = (
        problem
        for problem in problems
        if problem["type"] == "extra_forbidden" and problem["loc"][:-1] == first["loc"][:-1]
    )
    return next(unknown, first)


def _unknown_kind(where: str, context: Mapping[str, object]) -> str:
    """What is said of a `kind` that is none, with those that there are."""
    given = str(context.get("tag", ""))
    known = [name.strip(" '") for name in str(context.get("expected_tags", "")).split(",")]
    near = difflib.get_close_matches(given.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{where}.kind: there is no {given!r}; {hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Below:
    """What stands below a dotted key."""

    models: list[type[BaseModel]]
    """All classes that may."""
    containers: tuple[str, ...] = ()
    """The lists and mappings between the key and their fields."""
    in_list: bool = False
    """Whether the key ends with the number of a list's item."""


def _keys_wanted(where: str, below: _Below, value: object) -> str:
    """What is said of a value where a mapping of keys is wanted."""
    kinds = [str(kind) for model in below.models if (kind := kind_of(model))]
    if value in kinds and not below.containers:
        return f"write {{kind: {value}}}" if below.in_list else f"write {where}.kind={value}"
    keys = [name for model in below.models for name in model.model_fields]
    key = keys[0] if keys else "KEY"
    if below.in_list:
        return f"it has keys of its own, such as {{{key}: VALUE}}"
    return f"it has keys of its own, such as {'.'.join([where, *below.containers, key])}=VALUE"


def _place(
    cls: type[BaseModel], location: Sequence[int | str]
) -> tuple[list[str], list[type[BaseModel]], bool]:
    """The dotted key of a location, the classes around its last part, and whether it is secret.

    In a location the tag of a union stands beside the keys; nobody writes it.
    """
    path: list[str] = []
    around: list[type[BaseModel]] = []
    models, secret = [cls], False
    inside = 0  # lists and mappings whose number or name comes before the next key
    after_tag = False
    for part in location:
        if inside:
            inside -= 1
            path.append(str(part))
            continue
        if part == "[key]":  # the name before it is refused
            continue
        tagged = [model for model in models if part == kind_of(model)]
        # The tag stands where several classes may; a class of them may have a field of that name.
        if tagged and not after_tag and (len(models) > 1 or part not in tagged[0].model_fields):
            models, after_tag = tagged, True
            continue
        after_tag = False
        if _TYPE.fullmatch(str(part)) and path:
            continue
        path.append(str(part))
        around = models or around
        found = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [below for field in found for below in models_in(field.annotation)]
        inside = max((len(containers(field.annotation)) for field in found), default=0)
        secret = any("SecretStr" in str(field.annotation) for field in found) or secret
    return path, around, secret


def _hint(cls: type[BaseModel], path: Sequence[str], models: Sequence[type[BaseModel]]) -> str:
    """What the writer of an unknown key may have meant."""
    *parents, last = path
    known = [name for model in models for name in model.model_fields]
    first, *others = _SPELLED_OTHERWISE.split(last)
    if others and first in known:
        return "; the parts of a key are joined by dots"
    near = difflib.get_close_matches(last.lower(), known, n=1)
    if near:
        return f"; did you mean {'.'.join([*parents, near[0]])!r}?"
    owners = [model for model in _below(cls, parents).models if last in model.model_fields]
    kinds = [str(kind) for model in owners if (kind := kind_of(model))]
    return f"; it belongs to {'.'.join([*parents, 'kind'])}={' or '.join(kinds)}" if kinds else ""


def _below(cls: type[BaseModel], path: Sequence[str]) -> _Below:
    """What may stand below a dotted key."""
    below = _Below(models=[cls])
    for name in path:
        if below.containers:
            first, *rest = below.containers
            below = _Below(models=below.models, containers=tuple(rest), in_list=first == LIST)
            continue
        fields = [model.model_fields[name] for model in below.models if name in model.model_fields]
        found = [model for field in fields for model in models_in(field.annotation)]
        between = max((containers(field.annotation) for field in fields), key=len, default=())
        below = _Below(models=found, containers=between)
    return below


def _short(value: object) -> str:
    if not isinstance(value, str):
        text = repr(value)
    else:  # an address may lack what shows that it is one
        text = repr(hide_in_value(value))
        text = hide_credentials(_BARE_CREDENTIALS.sub(f"{REDACTED}@", text))
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."
