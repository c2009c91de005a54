"""A run's folder: what is in it, and what of it survives a kill.

config.json            the settings a resumed run must share, and a digest of the tasks
tasks.jsonl            the questions with their references, so that reports need nothing else
results.jsonl          one `Result` per rollout, appended as each ends
results.NAME.jsonl     the same rollouts, judged again by `regrade`
episodes.jsonl         the rollouts themselves, if kept
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from wideseek_core import ConfigError, DataError, Task
from wideseek_core.code_version import code_version
from wideseek_core.files import read_records, write_atomically
from wideseek_core.json_text import parse_record, to_json
from wideseek_core.runs import SERVICE_KEYS, check_resumed_config, plain
from wideseek_core.tasks import Record
from wideseek_eval.runs.results import Result

GRADING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names of regradings."""

Key = tuple[str, int]
"""Task id and trial: what names a rollout."""


class RunHeader(Record):
    """What `config.json` holds."""

    version: Literal[1] = 1
    settings: dict[str, JsonValue]
    tasks: str
    """sha256 of the questions and references."""
    started: str = ""
    """When the run began: date and time in UTC."""
    code: tuple[str, ...] = ()
    """The versions of the code that it was run with; several if it was resumed with another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Paths of a run's files."""

    path: Path
    grading: str = ""
    """The regrading whose results are meant; the run's own if empty."""

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
    header: RunHeader | None = None
    """Its settings, and those of its regrading."""


def begin_run(folder: RunFolder, tasks: Sequence[Task], settings: Mapping[str, JsonValue]) -> None:
    """Writes a new run's settings and tasks, or compares them with those of the run that is there.

    Raises `ConfigError` naming the first setting that differs.
    """
    if not folder.header.exists():
        # Written before the header, whose presence says that the run has begun.
        lines = "".join(f"{to_json(task)}\n" for task in tasks)
        write_atomically(folder.tasks, lines)
    store_header(folder, settings, digest(tasks))


def store_header(
    folder: RunFolder,
    settings: Mapping[str, JsonValue],
    tasks: str,
    resumable_keys: Collection[str] = SERVICE_KEYS,
) -> None:
    """Writes the header; if there is one, raises `ConfigError` naming a setting that differs.

    Settings that say where a service is and how it is asked may differ: they shape no result.
    """
    now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    header = RunHeader(settings=plain(settings), tasks=tasks, started=now, code=(code_version(),))
    if folder.header.exists():
        before = read_header(folder.header)
        try:
            check_resumed_config(before.settings, header.settings, resumable_keys)
        except ConfigError as error:
            raise ConfigError(f"{folder.header}: {error}") from None
        if before.tasks != header.tasks:
            raise ConfigError(
                f"{folder.header}: the run was started with other tasks; use another run folder"
            )
        code = tuple(dict.fromkeys((*before.code, *header.code)))
        header = header.model_copy(update={"started": before.started, "code": code})
        if before == header:
            return
    write_atomically(folder.header, to_json(header, indent=2) + "\n")


def read_header(path: Path) -> RunHeader:
    """The settings of a run. Raises `DataError`."""
    try:
        return parse_record(path.read_bytes(), RunHeader)
    except FileNotFoundError:
        raise DataError(f"{path.parent} is not a run: it has no {path.name}") from None
    except NotADirectoryError:
        raise DataError(f"{path.parent} is not a run, but a file") from None
    except DataError:
        raise DataError(f"{path}: not the settings of an evaluation run{_inner(path)}") from None


def _inner(path: Path) -> str:
    """The evaluations in the folder of a training run, which has a `config.json` of its own."""
    found = sorted(below.parent for below in path.parent.glob("*/results.jsonl"))
    return f"; evaluations in it: {', '.join(map(str, found))}" if found else ""


def digest(tasks: Iterable[Task]) -> str:
    """sha256 of the tasks, in order."""
    sha = hashlib.sha256()
    for task in tasks:
        sha.update(to_json(task).encode() + b"\n")
    return sha.hexdigest()


def read_results(path: Path) -> dict[Key, Result]:
    """The latest result of each rollout; none if there is no file. Raises `DataError`."""
    results = read_records(path, Result, growing=True) if path.exists() else ()
    return {(result.task_id, result.trial): result for result in results}


def load_run(path: Path, grading: str = "") -> StoredRun:
    """A run read back for a report. Raises `DataError`."""
    folder = RunFolder(path=path, grading=grading)
    header = _with_grading(read_header(RunFolder(path=path).header), folder)
    tasks = {task.id: task for task in read_records(folder.tasks, Task)}
    if grading and not folder.results.exists():
        raise DataError(f"{path} has no regrading {grading!r}")
    found = read_results(folder.results)
    order = {name: index for index, name in enumerate(tasks)}
    unknown = next((name for name, _ in found if name not in order), None)
    if unknown is not None:
        raise DataError(f"{folder.results}: result of unknown task {unknown!r}")
    keys = sorted(found, key=lambda key: (order[key[0]], key[1]))
    return StoredRun(tasks=tasks, results=tuple(found[key] for key in keys), header=header)


def _with_grading(header: RunHeader, folder: RunFolder) -> RunHeader:
    """The settings of a run, with those of its regrading in place of its judge's."""
    if not folder.grading or not folder.header.exists():
        return header
    again = read_header(folder.header)
    code = tuple(dict.fromkeys((*header.code, *again.code)))
    settings = header.settings | again.settings
    return header.model_copy(update={"settings": settings, "code": code})
