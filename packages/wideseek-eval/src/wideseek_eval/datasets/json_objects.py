"""The JSON objects of task files: reading them, and errors that name file and line."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from wideseek_core import DataError, Language, Task
from wideseek_core.files import read_objects
from wideseek_core.json_text import parse_json
from wideseek_core.language import detect_language, is_language

JsonObject = Mapping[str, Any]
"""One task as its file has it."""


@dataclass(slots=True, kw_only=True)
class TaskFile:
    """What was read out of one task file."""

    tasks: list[Task] = field(default_factory=list[Task])
    places: dict[str, str] = field(default_factory=dict[str, str])
    """Where the task of an id is: `file:line`, or `file[index]` in a JSON array."""
    skipped: list[str] = field(default_factory=list[str])
    """Why tasks were left out."""
    chosen_keys: Counter[str] = field(default_factory=Counter[str])
    """Key columns that were chosen for tasks that name none."""
    misspelled: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Keys that mean nothing, each with the key that it looks like."""


def read_json_objects(path: Path) -> Iterator[tuple[str, JsonObject]]:
    """Place and object of each task of a file."""
    if path.suffix != ".json":
        yield from ((f"{path}:{number}", found) for number, found in read_objects(path))
        return
    try:
        value = parse_json(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a JSON array of objects")
    for index, found in enumerate(value):
        if not isinstance(found, dict):
            raise DataError(f"{path}[{index}]: expected a JSON object")
        yield f"{path}[{index}]", found


def collect(
    found: Iterator[tuple[str, JsonObject]],
    read: Callable[[int, JsonObject], Task],
    *,
    skip_malformed: bool = False,
    keys: Sequence[str] = (),
) -> TaskFile:
    """The tasks of a file; malformed ones are skipped only if that is allowed.

    Keys that mean nothing are left alone, but those that look like one of `keys` are counted.

    Raises `DataError` naming file and line of the first malformed task or repeated id.
    """
    file = TaskFile()
    for index, (place, values) in enumerate(found):
        try:
            task = read(index, values)
            if task.id in file.places:
                raise DataError(f"id {task.id!r} is taken by {file.places[task.id]}")
        except DataError as error:
            if not skip_malformed:
                raise DataError(f"{place}: {error}") from None
            file.skipped.append(f"{place}: {error}")
            continue
        file.places[task.id] = place
        file.tasks.append(task)
        file.misspelled.update(_misspelled(frozenset(values), tuple(keys)))
    return file


@lru_cache
def _misspelled(names: frozenset[str], known: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names that are not known, with the one that each looks like and that is not there."""
    missing = [name for name in known if name not in names]
    pairs = (
        (name, difflib.get_close_matches(name.lower(), missing, n=1, cutoff=0.8))
        for name in sorted(names.difference(known))
    )
    return [(name, near[0]) for name, near in pairs if near]


def text_of(values: JsonObject, *names: str) -> str:
    """The first of these keys that is there, which must be a non-empty string."""
    for name in names:
        if name in values:
            value = values[name]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{name!r} must be a non-empty string, not {short(value)}")
            return value
    raise DataError(f"missing {' or '.join(map(repr, names))}")


def texts_of(values: JsonObject, *names: str) -> tuple[str, ...]:
    """The first of these keys that is there: a string or number, or a list of them."""
    for name in names:
        if name in values:
            return _texts(name, values[name])
    raise DataError(f"missing {' or '.join(map(repr, names))}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    values = cast(list[object], value) if isinstance(value, list) else [value]
    if not all(isinstance(text, str | int | float) for text in values):
        raise DataError(f"{name!r} must be a string or a list of strings, not {short(values)}")
    texts = tuple(str(text) for text in values if str(text).strip())
    if not texts:
        raise DataError(f"{name!r} is empty")
    return texts


def mapping_of(values: JsonObject, name: str) -> JsonObject:
    """An object under `name`, given as such or as JSON text; empty if absent."""
    value: object = values.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = parse_json(value)
        except DataError as error:
            raise DataError(f"{name!r} is {error}") from None
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{name!r} must be an object, not {short(value)}")
    return cast(JsonObject, value)


def id_of(values: JsonObject, fallback: str) -> str:
    """`instance_id` or `id` as text, else `fallback`."""
    for name in ("instance_id", "id"):
        value: object = values.get(name)
        if value is not None:
            return identifier(name, value)
    return fallback


def identifier(name: str, value: object) -> str:
    """A string or an integer as an id. Raises `DataError` for anything else, and for blanks."""
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value)
    raise DataError(f"{name!r} must be a string or an integer, not {short(value)}")


def language_of(values: JsonObject, question: str) -> Language:
    """`language` if given, else that of the question."""
    value: object = values.get("language")
    if value is None or value == "":
        return detect_language(question)
    if isinstance(value, str) and is_language(value):
        return value
    raise DataError(f"'language' must be a tag such as 'en' or 'zh', not {short(value)}")


def short(value: object) -> str:
    """A value as an error message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
