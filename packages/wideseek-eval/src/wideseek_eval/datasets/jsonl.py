"""The `question`/`query` JSON lines of training and test sets: tables and short answers mixed."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wideseek_core import DataError, Task, TextGold
from wideseek_core.tables import find_tables
from wideseek_eval.datasets.json_objects import (
    JsonObject,
    TaskFile,
    collect,
    id_of,
    language_of,
    read_json_objects,
    text_of,
    texts_of,
)
from wideseek_eval.datasets.reference_tables import ReferenceReader

OPTIONAL_KEYS = (
    *("instance_id", "unique_columns", "required", "evaluation"),
    *("is_markdown", "language", "source"),
)
"""Keys of a task that may be left out, so that a misspelled one would go unnoticed."""


def load_jsonl(
    path: Path,
    *,
    name: str = "",
    question_key: str = "",
    answer_key: str = "",
    normalize_columns: bool = True,
    skip_malformed: bool = False,
) -> TaskFile:
    """The tasks of a file; `name` is their source, and begins their ids, where they have none."""
    keys = Counter[str]()
    reader = TaskReader(
        name=name or path.stem,
        question_keys=(question_key,) if question_key else ("question", "query"),
        answer_keys=(answer_key,) if answer_key else ("answer", "gt"),
        tables=ReferenceReader(normalize_columns=normalize_columns, chosen_keys=keys),
    )
    file = collect(
        read_json_objects(path), reader.read, skip_malformed=skip_malformed, keys=OPTIONAL_KEYS
    )
    file.chosen_keys = keys
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReader:
    """Makes tasks of JSON objects."""

    name: str
    question_keys: tuple[str, ...]
    answer_keys: tuple[str, ...]
    tables: ReferenceReader

    def read(self, index: int, values: JsonObject) -> Task:
        """One object as a task. Raises `DataError`."""
        question = text_of(values, *self.question_keys)
        answers = texts_of(values, *self.answer_keys)
        task = Task(
            id=id_of(values, f"{self.name}-{index}"),
            question=question,
            language=language_of(values, question),
            gold=TextGold(answers=answers),
            source=str(values.get("source") or self.name),
        )
        if not _is_table(values, answers):
            return task
        answer, *more = answers
        if more:
            raise DataError("'answer' is a list, but 'is_markdown' says it is one table")
        gold, rows = self.tables.read(values, answer, "markdown")
        return task.model_copy(update={"gold": gold, "rows": rows})


def _is_table(values: JsonObject, answers: tuple[str, ...]) -> bool:
    given: object = values.get("is_markdown")
    if isinstance(given, bool):
        return given
    if given is not None:
        raise DataError("'is_markdown' must be true or false")
    return any(find_tables(answer) for answer in answers)
