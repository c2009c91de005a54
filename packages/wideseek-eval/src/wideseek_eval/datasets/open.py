"""Tasks out of a data set's configuration. The one place that tells the kinds apart."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wideseek_core import DataError, Task
from wideseek_core.counting import counted
from wideseek_core.datasets import Selection, select, select_mixture
from wideseek_core.plugins import opener
from wideseek_eval.datasets.config import (
    DATASETS,
    DataConfig,
    Files,
    JsonlData,
    QaData,
    WideSearchData,
)
from wideseek_eval.datasets.json_objects import TaskFile
from wideseek_eval.datasets.jsonl import load_jsonl
from wideseek_eval.datasets.widesearch import (
    REVISION,
    SHA256,
    digest,
    load_widesearch,
    locate,
)

logger = logging.getLogger(__name__)


def load_tasks(config: DataConfig) -> list[Task]:
    """The tasks a configuration asks for.

    Raises `DataError` naming file and line, also when no task is left to ask.
    """
    match config:
        case JsonlData() | QaData():
            files = _read_files(config)
            _check_ids(files)
            return select_mixture([file.tasks for file in files], config.weights, config)
        case WideSearchData():
            return select(_widesearch(config), config)
        case _:
            return _of_plugin(config)


def _of_plugin(config: Selection) -> list[Task]:
    tasks: list[Task] = opener(DATASETS, config)(config)
    if not tasks:
        raise DataError(f"data.kind={getattr(config, 'kind', '')}: no tasks")
    return tasks


def _read_files(config: Files) -> list[TaskFile]:
    names = _names(config.paths)
    found: list[TaskFile] = []
    for path in config.paths:
        if isinstance(config, JsonlData):
            file = load_jsonl(
                path,
                name=names[path],
                question_key=config.question_key,
                answer_key=config.answer_key,
                normalize_columns=config.normalize_columns,
                skip_malformed=config.skip_malformed,
            )
        else:
            file = load_jsonl(path, name=names[path], skip_malformed=config.skip_malformed)
        _report(path, file)
        found.append(file)
    return found


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each file, which tells its tasks' source: its stem, if that is unique."""
    stems = Counter(path.stem for path in dict.fromkeys(paths))
    return {
        path: path.stem if stems[path.stem] == 1 else f"{path.parent.name}_{path.stem}"
        for path in paths
    }


def _report(path: Path, file: TaskFile) -> None:
    for reason in file.skipped:
        logger.warning("skipped %s", reason)
    if file.chosen_keys:
        names = ", ".join(f"{name!r} ({count})" for name, count in file.chosen_keys.items())
        logger.warning(
            "%s: without 'unique_columns': %s; the key column was chosen: %s",
            path,
            counted(sum(file.chosen_keys.values()), "task"),
            names,
        )
    for (name, meant), count in file.misspelled.items():
        line = "%s: the key %r of %s means nothing; did you mean %r?"
        logger.warning(line, path, name, counted(count, "task"), meant)
    if not file.tasks:
        raise DataError(f"{path}: no tasks")


def _check_ids(files: Sequence[TaskFile]) -> None:
    """Raises `DataError` if two files name a task alike."""
    places: dict[str, str] = {}
    for file in files:
        for name, place in file.places.items():
            if name in places:
                raise DataError(f"{place}: id {name!r} is taken by {places[name]}")
        places |= file.places


def _widesearch(config: WideSearchData) -> list[Task]:
    path, gold = locate(config.path, config.gold, config.revision)
    found = digest(path, gold)
    pinned = SHA256 if config.path is None and config.revision == REVISION else ""
    wanted = config.sha256 or pinned
    if wanted and found != wanted:
        raise DataError(f"{path}: sha256 of tasks and gold tables is {found}, not {wanted}")
    file = load_widesearch(
        path,
        gold,
        normalize_columns=config.normalize_columns,
        skip_malformed=config.skip_malformed,
    )
    _report(path, file)
    if config.expect is not None and len(file.tasks) != config.expect:
        raise DataError(
            f"{path}: {counted(len(file.tasks), 'task')}, not "
            f"{config.expect} (data.expect=null accepts any)"
        )
    return file.tasks
