"""A run's folder: what lies in it, who may write, what of it survives a kill.

config.json            the settings a resumed run must share, and a digest of the tasks
tasks.jsonl            the questions with their references, so that reports need nothing else
results.jsonl          one `Result` per rollout, appended as each ends
results.NAME.jsonl     the same rollouts, judged again by `regrade`
episodes.jsonl         the rollouts themselves, if kept
"""

import fcntl
import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import JsonValue, ValidationError

from wideseek_core import ConfigError, DataError, Task
from wideseek_core.files import read_records, write_atomically
from wideseek_core.tasks import Record
from wideseek_eval.records import Result

R = TypeVar("R", bound=Record)

Key = tuple[str, int]
"""Task id and trial: what names a rollout."""


class RunHeader(Record):
    """What `config.json` holds."""

    version: Literal[1] = 1
    settings: dict[str, JsonValue]
    tasks: str
    """sha256 of the questions and references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Paths of a run's files."""

    path: Path
    grading: str = ""
    """Which regrading's results; the run's own if empty."""

    @property
    def header(self) -> Path:
        """The settings."""
        return self.path / (f"config.{self.grading}.json" if self.grading else "config.json")

    @property
    def tasks(self) -> Path:
        """The questions."""
        return self.path / "tasks.jsonl"

    @property
    def results(self) -> Path:
        """The results."""
        return self.path / (f"results.{self.grading}.jsonl" if self.grading else "results.jsonl")

    @property
    def episodes(self) -> Path:
        """The rollouts."""
        return self.path / "episodes.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run read back."""

    tasks: dict[str, Task]
    results: tuple[Result, ...]
    """The latest of each rollout, in the order of tasks and trials."""


@contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Keeps other processes out of a run's folder. Raises `ConfigError` if one is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is writing to {folder}") from None
        # Freed by the system with the file, however the process ends.
        yield


def begin(folder: RunFolder, tasks: Sequence[Task], settings: Mapping[str, JsonValue]) -> None:
    """Writes a new run's settings and tasks, or compares them with what is there.

    Raises `ConfigError` naming the first setting that differs.
    """
    if not folder.header.exists():
        # Before the header, whose presence says that the run has begun.
        lines = "".join(f"{task.model_dump_json()}\n" for task in tasks)
        write_atomically(folder.tasks, lines)
    agree(folder, settings, digest(tasks))


def agree(folder: RunFolder, settings: Mapping[str, JsonValue], tasks: str) -> None:
    """Writes the header, or raises `ConfigError` naming what differs from the one there."""
    header = RunHeader(settings=_plain(settings), tasks=tasks)
    if not folder.header.exists():
        write_atomically(folder.header, header.model_dump_json(indent=2) + "\n")
        return
    before = read_header(folder.header)
    for key, old, new in differences(before.settings, header.settings):
        raise ConfigError(f"{folder.header}: {key} was {old}, is {new}; take another folder")
    if before.tasks != header.tasks:
        raise ConfigError(f"{folder.header}: begun with other tasks; take another folder")


def read_header(path: Path) -> RunHeader:
    """The settings of a run. Raises `DataError`."""
    try:
        return RunHeader.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path.parent} is not a run: it has no {path.name}") from None
    except ValueError:
        raise DataError(f"{path}: not the settings of a run") from None


def differences(
    old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]
) -> list[tuple[str, str, str]]:
    """Dotted key, old and new value of every setting that differs."""
    before, after = _flat(old), _flat(new)
    keys = [*before, *(key for key in after if key not in before)]
    absent = "absent"
    return [
        (key, before.get(key, absent), after.get(key, absent))
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]


def _flat(value: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, below in value.items():
        if isinstance(below, dict) and below:
            flat |= _flat(below, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(below, ensure_ascii=False)
    return flat


def _plain(settings: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Settings as JSON keeps them, so that a re-read one equals a fresh one."""
    plain: dict[str, JsonValue] = json.loads(json.dumps(dict(settings), default=str))
    return plain


def digest(tasks: Iterable[Task]) -> str:
    """sha256 of the tasks, in order."""
    whole = hashlib.sha256()
    for task in tasks:
        whole.update(task.model_dump_json().encode() + b"\n")
    return whole.hexdigest()


def read_results(path: Path) -> dict[Key, Result]:
    """The latest result of each rollout; none if there is no file. Raises `DataError`."""
    results = read_whole(path, Result) if path.exists() else ()
    return {(result.task_id, result.trial): result for result in results}


def read_whole(path: Path, cls: type[R]) -> Iterator[R]:
    """The records of a file that may be growing: a last line without its end is not there yet.

    Raises `DataError` with file:line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                yield cls.model_validate_json(line)
            except ValidationError as error:
                problem = error.errors(include_url=False)[0]
                where = ".".join(map(str, problem["loc"]))
                raise DataError(f"{path}:{number}: {where}: {problem['msg']}") from None


def load_run(path: Path, grading: str = "") -> StoredRun:
    """A run read back for a report. Raises `DataError`."""
    folder = RunFolder(path=path, grading=grading)
    read_header(RunFolder(path=path).header)
    tasks = {task.id: task for task in read_records(folder.tasks, Task)}
    if grading and not folder.results.exists():
        raise DataError(f"{path} has no regrading {grading!r}")
    found = read_results(folder.results)
    order = {name: index for index, name in enumerate(tasks)}
    unknown = next((name for name, _ in found if name not in order), None)
    if unknown is not None:
        raise DataError(f"{folder.results}: result of unknown task {unknown!r}")
    keys = sorted(found, key=lambda key: (order[key[0]], key[1]))
    return StoredRun(tasks=tasks, results=tuple(found[key] for key in keys))
