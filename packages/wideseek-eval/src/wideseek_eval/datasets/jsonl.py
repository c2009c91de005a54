"""The `question`/`query` JSON lines of training and test sets: tables and short answers mixed."""

from functools import partial
from pathlib import Path

from wideseek_core import DataError, Task, TextGold
from wideseek_eval.datasets.json_objects import (
    Row,
    collect,
    id_of,
    language_of,
    read_rows,
    text_of,
    texts_of,
)
from wideseek_eval.datasets.reference_tables import looks_like_table, read_gold


def load_jsonl(
    path: Path, *, question_key: str = "", answer_key: str = "", skip_bad: bool = False
) -> tuple[list[Task], list[str]]:
    """The tasks of a file, and why rows were skipped."""
    read = partial(read_task, path.stem, question_key=question_key, answer_key=answer_key)
    return collect(read_rows(path), read, skip_bad=skip_bad)


def read_task(
    name: str, index: int, row: Row, *, question_key: str = "", answer_key: str = ""
) -> Task:
    """One row as a task; `name` and `index` make its id if it has none. Raises `DataError`."""
    question = text_of(row, *([question_key] if question_key else ["question", "query"]))
    answers = texts_of(row, *([answer_key] if answer_key else ["answer", "gt"]))
    task = Task(
        id=id_of(row, f"{name}-{index}"),
        question=question,
        language=language_of(row, question),
        gold=TextGold(answers=answers),
        source=str(row.get("source") or name),
    )
    if not _is_table(row, answers):
        return task
    answer, *more = answers
    if more:
        raise DataError("'answer' is a list, but 'is_markdown' says it is one table")
    gold, rows = read_gold(row, answer, "markdown")
    return task.model_copy(update={"gold": gold, "rows": rows})


def _is_table(row: Row, answers: tuple[str, ...]) -> bool:
    said: object = row.get("is_markdown")
    if isinstance(said, bool):
        return said
    if said is not None:
        raise DataError("'is_markdown' must be true or false")
    return any(looks_like_table(answer) for answer in answers)
