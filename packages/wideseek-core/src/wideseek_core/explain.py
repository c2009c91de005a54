"""Says what is wrong with a configuration, in one line that names the key as a user writes it."""

import difflib
import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from wideseek_core.fields import kind_of, models_in

MAX_VALUE_CHARS = 80
"""Characters of a refused value that are shown."""


def explain(cls: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a validation error, as one line for a person."""
    problem = error.errors(include_url=False)[0]
    path, models, secret = _place(cls, problem["loc"])
    where = ".".join(path) or cls.__name__
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_hint(cls, path, models)}"
    if problem["type"] == "missing":
        return f"missing key {where!r}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = problem.get("input")
    if secret or isinstance(value, dict | list | BaseModel):
        return f"{where}: {message}"
    return f"{where}: {message} (got {_short(value)})"


def _place(
    cls: type[BaseModel], location: Sequence[int | str]
) -> tuple[list[str], list[type[BaseModel]], bool]:
    """The dotted key of a location, the classes around its last part, and whether it is secret.

    In a location the tag of a union stands beside the keys; nobody writes it.
    """
    path: list[str] = []
    around: list[type[BaseModel]] = []
    models, secret = [cls], False
    for part in location:
        tagged = [model for model in models if part == kind_of(model)]
        if tagged and not any(part in model.model_fields for model in models):
            models = tagged
            continue
        path.append(str(part))
        around = models or around
        found = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [below for field in found for below in models_in(field.annotation)]
        secret = any("SecretStr" in str(field.annotation) for field in found) or secret
    return path, around, secret


def _hint(cls: type[BaseModel], path: Sequence[str], models: Sequence[type[BaseModel]]) -> str:
    """What the writer of an unknown key may have meant."""
    *parents, last = path
    known = [name for model in models for name in model.model_fields]
    near = difflib.get_close_matches(last, known, n=1)
    if near:
        return f"; did you mean {'.'.join([*parents, near[0]])!r}?"
    owners = [model for model in _siblings(cls, parents) if last in model.model_fields]
    kinds = [str(kind) for model in owners if (kind := kind_of(model))]
    return f"; it belongs to {'.'.join([*parents, 'kind'])}={' or '.join(kinds)}" if kinds else ""


def _siblings(cls: type[BaseModel], parents: Sequence[str]) -> list[type[BaseModel]]:
    """All classes that may stand at a dotted key."""
    models = [cls]
    for name in parents:
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        models = [below for field in fields for below in models_in(field.annotation)]
    return models


def _short(value: object) -> str:
    text = re.sub(r"(?<=://)[^/@\s]+(?=@)", "[redacted]", repr(value))
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."
