"""The fields of configuration classes: which there are, and their description for `--help`."""

import json
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The model classes that a type mentions, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def kind_of(model: type[BaseModel]) -> object:
    """The tag that tells a member of a union from the others; None if it has none."""
    field = model.model_fields.get("kind")
    return None if field is None or field.is_required() else field.default


def describe(cls: type[BaseModel], prefix: str = "") -> str:
    """Every field of a config class: dotted name, type, default, documentation.

    Defaults are those that hold where the field stands: what a parent's default object sets goes
    before the field's own.
    """
    return "\n".join(_lines(cls, prefix, None))


def _lines(cls: type[BaseModel], prefix: str, default: object) -> Iterator[str]:
    for name, field in cls.model_fields.items():
        dotted = f"{prefix}{name}"
        below = models_in(field.annotation)
        value = _value(field, name, default if isinstance(default, cls) else None)
        yield f"{dotted}: {_type_name(field.annotation)} = {_default(field, value, bool(below))}"
        if field.description:
            yield f"    {' '.join(field.description.split())}"
        for model in below:
            yield from _lines(model, f"{dotted}.", value)


def _value(field: FieldInfo, name: str, default: BaseModel | None) -> object:
    if default is not None:
        return getattr(default, name)
    if field.is_required():
        return None
    return field.get_default(call_default_factory=True, validated_data={})


def _default(field: FieldInfo, value: object, nested: bool) -> str:
    if value is None and field.is_required():
        return "(required)"
    if isinstance(value, BaseModel):
        kind = kind_of(type(value))
        return str(kind) if kind else ("(below)" if nested else "{}")
    if isinstance(value, tuple | list | dict):
        return json.dumps(value, default=str)
    if isinstance(value, str):
        return value or '""'
    return "null" if value is None else json.dumps(value, default=str).strip('"')


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = get_origin(annotation)
    if origin is None:
        return getattr(annotation, "__name__", str(annotation))
    parts = get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(map(_type_name, parts))
    if str(origin).endswith("Literal"):
        return " | ".join(map(str, parts))
    if str(origin).endswith("Annotated"):
        return _type_name(parts[0])
    inner = ", ".join("..." if part is Ellipsis else _type_name(part) for part in parts)
    return f"{origin.__name__}[{inner}]"
