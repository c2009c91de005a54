"""The fields of configuration classes: which there are, and their description for `--help`."""

import difflib
import json
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wideseek_core.counting import counted
from wideseek_core.errors import ConfigError

WIDTH = 100
"""Columns of the help."""
ALL = "all"
"""The key of `--help all`, which shows every field."""
LIST = "N"
"""Stands for the number of a list's item in the keys below it."""
NAMED = "NAME"
"""Stands for the name of a mapping's item in the keys below it."""


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The model classes that a type mentions, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def containers(annotation: Any) -> tuple[str, ...]:
    """The lists and mappings around the model classes of a type: `LIST` or `NAMED` for each."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is None or not models_in(annotation):
        return ()
    if origin is Annotated:
        return containers(parts[0])
    if origin in (Union, types.UnionType):
        return max((containers(part) for part in parts), key=len)
    is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
    return (NAMED, *containers(parts[1])) if is_mapping else (LIST, *containers(parts[0]))


def kind_of(model: type[BaseModel]) -> object:
    """The tag that tells a member of a union from the others; None if it has none."""
    field = model.model_fields.get("kind")
    return None if field is None or field.is_required() else field.default


def describe(cls: type[BaseModel]) -> str:
    """Every field of a config class: dotted name, type, default, documentation.

    Defaults are those that hold where the field stands: what a parent's default object sets goes
    before the field's own.
    """
    return "\n".join(_class_lines(cls, "", None, deep=True))


def help_text(cls: type[BaseModel], key: str, usage: str) -> str:
    """What `--help KEY` shows: the whole command for an empty key, one branch otherwise.

    Raises `ConfigError` for an unknown key.
    """
    if key == ALL:
        return f"usage: {usage}\n\n{describe(cls)}"
    if key:
        return "\n".join(_branch_lines(cls, key)).removeprefix("\n")
    head = [f"usage: {usage}", "", *_wrapped(cls.__doc__ or "", ""), ""]
    more = [
        "",
        "Later arguments win. A key with keys of its own is one line here:",
        "--help KEY shows what is below it, --help all everything.",
    ]
    return "\n".join([*head, *_class_lines(cls, "", None, deep=False), *more])


def _branch_lines(cls: type[BaseModel], key: str) -> Iterator[str]:
    """The field of a dotted key, and the fields below it."""
    places: list[tuple[type[BaseModel], object]] = [(cls, None)]
    *parents, last = key.split(".")
    inside = 0  # lists and mappings whose number or name comes before the next key
    for at, name in enumerate(parents):
        if inside:
            inside -= 1
            continue
        owners = [owner for owner, _ in places]
        fields = [pair for owner, default in places for pair in _named(owner, name, default)]
        places = [
            (model, value) for field, value in fields for model in models_in(field.annotation)
        ]
        inside = max((len(containers(field.annotation)) for field, _ in fields), default=0)
        if not places:
            raise ConfigError(_no_branch(key, ".".join(parents[: at + 1]), owners))
    if inside:
        for model, value in places:
            yield from _model_lines(model, key, value, deep=False)
        return
    found = [pair for owner, default in places for pair in _named(owner, last, default)]
    if not found:
        names = [name for owner, _ in places for name in owner.model_fields]
        near = difflib.get_close_matches(last.lower(), names, n=1)
        hint = f"; did you mean {'.'.join([*parents, near[0]])!r}?" if near else ""
        raise ConfigError(f"--help: unknown key {key!r}{hint}")
    for field, value in found:
        yield from _field_lines(key, field, value)
        for model in models_in(field.annotation):
            yield from _model_lines(model, _item(key, field), value, deep=False)


def _no_branch(key: str, branch: str, owners: Sequence[type[BaseModel]]) -> str:
    """What is said of a key below something that has no keys, or that is not there."""
    if any(branch.rpartition(".")[2] in owner.model_fields for owner in owners):
        return f"--help: {branch!r} has no keys that are described; see --help {branch}"
    return f"--help: unknown key {branch!r}"


def _named(
    owner: type[BaseModel], name: str, default: object
) -> Iterator[tuple[FieldInfo, object]]:
    field = owner.model_fields.get(name)
    if field is not None:
        yield field, _value(field, name, default if isinstance(default, owner) else None)


def _class_lines(
    cls: type[BaseModel], prefix: str, default: object, *, deep: bool
) -> Iterator[str]:
    """The fields of a class: plain ones first unless all are shown, then those with keys."""
    held = default if isinstance(default, cls) else None
    fields = list(cls.model_fields.items())
    if not deep:
        fields.sort(key=lambda item: bool(models_in(item[1].annotation)))
    for name, field in fields:
        value, below = _value(field, name, held), models_in(field.annotation)
        dotted = f"{prefix}{name}"
        if name == "kind" and prefix:
            continue  # the heading of the class shows it
        yield from _field_lines(dotted, field, value)
        if deep:
            for model in below:
                yield from _model_lines(model, _item(dotted, field), value, deep=True)


def _item(dotted: str, field: FieldInfo) -> str:
    """A key, or that of what its list or mapping holds."""
    return ".".join([dotted, *containers(field.annotation)])


def _model_lines(
    model: type[BaseModel], dotted: str, value: object, *, deep: bool
) -> Iterator[str]:
    """The fields of one class that may stand at a key, under a heading if it has a kind."""
    kind = kind_of(model)
    if kind is not None:
        default = " (the default)" if isinstance(value, model) else ""
        yield ""
        yield f"With {dotted}.kind={kind}{default}:"
        yield from _wrapped(_first_sentence(model), "    ")
    yield from _class_lines(model, f"{dotted}.", value, deep=deep)


def _field_lines(dotted: str, field: FieldInfo, value: object) -> Iterator[str]:
    below = models_in(field.annotation)
    default = _default(field, value, bool(below))
    shown = f" = {default}" if default else ""
    keys = sum(len(model.model_fields) for model in below)
    count = f"   ({counted(keys, 'key')})" if below else ""
    yield f"{dotted}: {_type_name(field.annotation)}{shown}{count}"
    text = field.description or (_first_sentence(below[0]) if len(below) == 1 else "")
    yield from _wrapped(text, "    ")


def _first_sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("\n\n")[0]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


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
        return str(kind) if kind else ("" if nested else "{}")
    if isinstance(value, tuple | list | dict):
        return json.dumps(value, default=_settings, ensure_ascii=False)
    if isinstance(value, str):
        return value or '""'
    return "null" if value is None else json.dumps(value, default=str).strip('"')


def _settings(value: object) -> object:
    """A value as a user writes it."""
    if not isinstance(value, BaseModel):
        return str(value)
    kind = kind_of(type(value))
    given = value.model_dump(mode="json", exclude_unset=True)
    return given if kind is None else {"kind": kind} | given


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = get_origin(annotation)
    if origin is None:
        return _plain_name(annotation)
    parts = get_args(annotation)
    if origin in (Union, types.UnionType):
        return "Any" if Any in parts else " | ".join(map(_type_name, parts))
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin is Annotated:
        return _type_name(parts[0])
    inner = ", ".join("..." if part is Ellipsis else _type_name(part) for part in parts)
    return f"{origin.__name__}[{inner}]"


def _plain_name(annotation: Any) -> str:
    """A class's name; the kind instead of the class for members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return str(kind_of(annotation) or annotation.__name__)
    return str(getattr(cast(object, annotation), "__name__", cast(object, annotation)))
