"""Gives every plain YAML scalar the form that its field takes: a text where a text is wanted."""

import enum
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr

from wideseek_core.fields import kind_of, models_in
from wideseek_core.yaml_values import PlainScalar

_TEXTS = (str, Path, SecretStr)


def settle(cls: type[BaseModel], raw: dict[str, Any]) -> dict[str, Any]:
    """The raw values of a class with no `PlainScalar` left."""
    fields = cls.model_fields
    return {
        key: _settle(fields[key].annotation if key in fields else Any, value)
        for key, value in raw.items()
    }


def _settle(annotation: Any, value: object) -> Any:
    if isinstance(value, PlainScalar):
        as_text = value.value is not None and _takes_text(annotation, value)
        return str(value) if as_text else value.value
    if isinstance(value, list):
        return [_settle(_item(annotation), item) for item in cast(list[object], value)]
    if not isinstance(value, dict):
        return value
    mapping = cast(dict[str, Any], value)
    models = models_in(annotation)
    if "kind" in mapping:
        models = [model for model in models if kind_of(model) == mapping["kind"]] or models
    if len(models) == 1:
        return settle(models[0], mapping)
    inner = _mapped(annotation)
    return {key: _settle(inner, item) for key, item in mapping.items()}


def _leaves(annotation: Any) -> list[Any]:
    """The members of a union, without annotations; the type itself if it is none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _leaves(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [leaf for part in get_args(annotation) for leaf in _leaves(part)]
    return [annotation]


def _takes_text(annotation: Any, scalar: PlainScalar) -> bool:
    leaves = _leaves(annotation)
    if any(get_origin(leaf) is Literal and str(scalar) in get_args(leaf) for leaf in leaves):
        return True
    if any(leaf in (bool, int, float) for leaf in leaves):
        return False
    return any(_is_text(leaf) for leaf in leaves)


def _is_text(leaf: Any) -> bool:
    if get_origin(leaf) is Literal:
        return all(isinstance(value, str) for value in get_args(leaf))
    return isinstance(leaf, type) and issubclass(leaf, (*_TEXTS, enum.StrEnum))


def _item(annotation: Any) -> Any:
    """The type of a list's items."""
    for leaf in _leaves(annotation):
        if get_args(leaf) and not _is_mapping(leaf) and get_origin(leaf) is not Literal:
            return get_args(leaf)[0]
    return Any


def _mapped(annotation: Any) -> Any:
    """The type of a mapping's values."""
    for leaf in _leaves(annotation):
        if _is_mapping(leaf) and get_args(leaf):
            return get_args(leaf)[1]
    return Any


def _is_mapping(leaf: Any) -> bool:
    origin = get_origin(leaf)
    return isinstance(origin, type) and issubclass(origin, Mapping)
