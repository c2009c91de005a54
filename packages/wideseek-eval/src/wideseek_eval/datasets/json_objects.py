"""Rows of task files, wherever they come from: reading, and errors that name file and line."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from wideseek_core import DataError, Language, Task
from wideseek_core.files import read_objects

Row = Mapping[str, Any]
"""One JSON object of a task file."""

_CJK = re.compile(r"[\u3400-\u9fff]")


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Place (`file:line`, or `file[index]` in a JSON array) and object of each row."""
    if path.suffix != ".json":
        yield from ((f"{path}:{number}", row) for number, row in read_objects(path))
        return
    try:
        value: object = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8") from None
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a JSON array of objects")
    for index, row in enumerate(cast(list[object], value)):
        if not isinstance(row, dict):
            raise DataError(f"{path}[{index}]: expected a JSON object")
        yield f"{path}[{index}]", cast(Row, row)


def collect(
    rows: Iterator[tuple[str, Row]], read: Callable[[int, Row], Task], *, skip_bad: bool = False
) -> tuple[list[Task], list[str]]:
    """The tasks of a file, and why rows were skipped (nothing is, unless `skip_bad`).

    Raises `DataError` naming file and line of the first bad row or repeated id.
    """
    tasks: list[Task] = []
    skipped: list[str] = []
    places: dict[str, str] = {}
    for index, (place, row) in enumerate(rows):
        try:
            task = read(index, row)
            if task.id in places:
                raise DataError(f"id {task.id!r} is taken by {places[task.id]}")
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{place}: {error}") from None
            skipped.append(f"{place}: {error}")
            continue
        places[task.id] = place
        tasks.append(task)
    return tasks, skipped


def text_of(row: Row, *names: str) -> str:
    """The first of these keys that is there, which must be a non-empty string."""
    for name in names:
        if name in row:
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{name!r} must be a non-empty string, not {short(value)}")
            return value
    raise DataError(f"missing {' or '.join(map(repr, names))}")


def texts_of(row: Row, *names: str) -> tuple[str, ...]:
    """The first of these keys that is there: a string or number, or a list of them."""
    for name in names:
        if name in row:
            return _texts(name, row[name])
    raise DataError(f"missing {' or '.join(map(repr, names))}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    values = cast(list[object], value) if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise DataError(f"{name!r} must be a string or a list of strings, not {short(values)}")
    texts = tuple(str(one) for one in values if str(one).strip())
    if not texts:
        raise DataError(f"{name!r} is empty")
    return texts


def mapping_of(row: Row, name: str) -> Row:
    """An object under `name`, given as such or as JSON text; empty if absent."""
    value: object = row.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise DataError(f"{name!r} is not JSON: {error}") from None
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise DataError(f"{name!r} must be an object, not {short(value)}")
    return cast(Row, value)


def id_of(row: Row, fallback: str) -> str:
    """`instance_id` or `id`, else `fallback`."""
    for name in ("instance_id", "id"):
        value: object = row.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return str(value)
        if value is not None:
            raise DataError(f"{name!r} must be a string, not {short(value)}")
    return fallback


def language_of(row: Row, question: str) -> Language:
    """`language` if given, else by the question's characters."""
    value: object = row.get("language")
    if value is None or value == "":
        return "zh" if _CJK.search(question) else "en"
    if value == "en":
        return "en"
    if value == "zh":
        return "zh"
    raise DataError(f"'language' must be 'en' or 'zh', not {short(value)}")


def short(value: object) -> str:
    """A value as an error message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
