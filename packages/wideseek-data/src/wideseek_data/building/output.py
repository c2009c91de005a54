"""The files of a data set: tasks in the form that training reads, pages, tables and plans."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, JsonValue

from wideseek_core import TableGold
from wideseek_core.files import file_atomically, read_records
from wideseek_core.json_text import to_json
from wideseek_core.search import Page
from wideseek_data.stored_pages import StoredPage
from wideseek_data.tables.table import Table
from wideseek_data.tasks.recipes import PlannedTask

PAGES, TABLES, PLANS = "pages.jsonl", "tables.jsonl", "plans.jsonl"
WIDE, SHORT = "wide.jsonl", "short.jsonl"


class TaskLine(BaseModel):
    """A task as training files of this kind have it."""

    instance_id: str
    question: str
    answer: str | list[str]
    unique_columns: list[str] | None = None
    is_markdown: bool
    language: str
    evaluation: dict[str, JsonValue] | None = None
    source: str


def task_line(plan: PlannedTask) -> TaskLine:
    """A task as a line of a file."""
    task, gold = plan.task, plan.task.gold
    if not isinstance(gold, TableGold):
        return TaskLine(
            instance_id=task.id,
            question=task.question,
            answer=list(gold.answers),
            is_markdown=False,
            language=task.language,
            source=task.source,
        )
    keys, required = list(gold.key_columns), list(gold.required_columns)
    return TaskLine(
        instance_id=task.id,
        question=task.question,
        answer=f"```markdown\n{gold.text}\n```",
        unique_columns=keys,
        is_markdown=True,
        language=task.language,
        evaluation={"required": [*required], "unique_columns": [*keys]},
        source=task.source,
    )


def split_of(entities: Sequence[str], shares: Mapping[str, float]) -> str:
    """The split of a task by its entities; "" if they belong to different ones."""
    found = {_split(entity, shares) for entity in entities}
    return found.pop() if len(found) == 1 else ""


def _split(entity: str, shares: Mapping[str, float]) -> str:
    place = int.from_bytes(blake2b(entity.encode(), digest_size=8).digest()) / 2**64
    bound = 0.0
    for name, share in shares.items():
        bound += share / sum(shares.values())
        if place < bound:
            return name
    return list(shares)[-1]


def write_lines(path: Path, lines: Iterable[BaseModel]) -> int:
    """Writes a file of JSON lines, whole or not at all; returns how many."""
    count = 0
    with file_atomically(path) as file:
        for line in lines:
            text = (
                line.model_dump_json(exclude_none=True)
                if isinstance(line, TaskLine)
                else to_json(line)
            )
            file.write(text.encode() + b"\n")
            count += 1
    return count


def write_data(
    folder: Path,
    splits: Mapping[str, Sequence[PlannedTask]],
    tables: Iterable[Table],
    pages: Iterable[Page],
) -> dict[str, int]:
    """Writes everything; returns how many lines each file has.

    Files of an earlier run that have no tasks any more are removed.
    """
    counts = {
        PAGES: write_lines(folder / PAGES, map(StoredPage.of, pages)),
        TABLES: write_lines(folder / TABLES, tables),
        PLANS: write_lines(folder / PLANS, (plan for some in splits.values() for plan in some)),
    }
    for split, plans in splits.items():
        for name, kind in ((WIDE, "wide"), (SHORT, "short")):
            chosen = [task_line(plan) for plan in plans if plan.recipe.kind == kind]
            if not chosen:
                (folder / split / name).unlink(missing_ok=True)
            else:
                counts[f"{split}/{name}"] = write_lines(folder / split / name, chosen)
    return counts


def read_tables(folder: Path) -> Iterator[Table]:
    """The tables of a data set. Raises `DataError`."""
    yield from read_records(folder / TABLES, Table)


def read_plans(folder: Path) -> Iterator[PlannedTask]:
    """The tasks of a data set with their recipes. Raises `DataError`."""
    yield from read_records(folder / PLANS, PlannedTask)


def read_stored_pages(folder: Path) -> Iterator[Page]:
    """The pages of a data set. Raises `DataError`."""
    for line in read_records(folder / PAGES, StoredPage):
        yield line.page
