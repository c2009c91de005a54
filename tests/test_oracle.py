"""Each reference table, given as the answer, must score 1.

The bundled tables have the oddities of real ones: quotes, dashes, footnotes, empty cells. With
`WIDESEEK_DATA` naming a folder that has `wikitables/wide_dev.jsonl`, those 700 are tried as well.
"""

import csv
import importlib
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import Score, TableGold, TableMetrics, Task
from wideseek_core.config import data_folder
from wideseek_core.tables import MarkdownTable, parse_table
from wideseek_data import AtlasData, load_atlas
from wideseek_judge import JudgeConfig, open_judge

BUNDLED = Path(__file__).parent / "data" / "tables.jsonl"
OPEN_QUOTES = {"open-quote", "wt_a1453f4d"}
"""Tables with a cell that begins with a quote which is never closed."""


def full_data() -> Path | None:
    folder = data_folder()
    path = folder and folder / "wikitables" / "wide_dev.jsonl"
    return path if path is not None and path.is_file() else None


@pytest.fixture(params=["bundled", "wikitables"])
def tasks(request: pytest.FixtureRequest) -> list[Task]:
    path = BUNDLED if request.param == "bundled" else full_data()
    if path is None:
        pytest.skip("WIDESEEK_DATA names no folder with wikitables/wide_dev.jsonl")
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(found) >= 20
    return [
        Task(
            id=row["instance_id"],
            question=row["question"],
            gold=TableGold(
                text=row["answer"],
                key_columns=tuple(row["unique_columns"]),
                required_columns=tuple(row["evaluation"]["required"]),
            ),
        )
        for row in found
    ]


def table_of(task: Task) -> MarkdownTable:
    assert isinstance(task.gold, TableGold)
    table = parse_table(task.gold.text)
    assert table is not None
    return table


def with_csv(task: Task) -> Task:
    """The same task with its reference as the official layout has it: as CSV."""
    table, text = table_of(task), io.StringIO()
    csv.writer(text).writerows([table.columns, *table.rows])
    assert isinstance(task.gold, TableGold)
    gold = task.gold.model_copy(update={"text": text.getvalue(), "format": "csv"})
    return task.model_copy(update={"gold": gold})


def markdown(table: MarkdownTable, cell: Callable[[str], str] = str) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    rows = [f"| {' | '.join(map(cell, line))} |" for line in lines]
    return "```markdown\n" + "\n".join(rows) + "\n```"


def quoted(cell: str) -> str:
    return '"{}"'.format(cell.replace('"', '""')) if '"' in cell else cell


def perfect(score: Score) -> bool:
    found = score.metrics
    assert isinstance(found, TableMetrics)
    return found.item_f1 == found.row_f1 == found.success == 1.0


async def imperfect(mode: str, kind: str, answers: Iterable[tuple[Task, str]]) -> set[str]:
    config = JudgeConfig.model_validate({"kind": kind, "mode": mode})
    async with open_judge(config) as judge:
        return {task.id for task, text in answers if not perfect(await judge.score(task, text))}


def as_answers(tasks: list[Task]) -> list[tuple[Task, str]]:
    return [(task, task.gold.text) for task in tasks if isinstance(task.gold, TableGold)]


def with_pipes(tasks: list[Task]) -> set[str]:
    """Tables with a pipe inside a cell, which the official format has no way to write."""
    return {task.id for task in tasks if any("|" in c for row in table_of(task).rows for c in row)}


@pytest.mark.parametrize("kind", ["exact", "normalized"])
@pytest.mark.parametrize("mode", ["strict", "reward"])
async def test_every_reference_as_its_own_answer_scores_one(
    tasks: list[Task], kind: str, mode: str
) -> None:
    assert await imperfect(mode, kind, as_answers(tasks)) == set()


@pytest.mark.parametrize("kind", ["exact", "normalized"])
async def test_every_reference_is_right_in_the_official_way_too(
    tasks: list[Task], kind: str
) -> None:
    # As official files hold it: a CSV reference, and an answer whose quotes read_csv gives back.
    answers = [(with_csv(task), markdown(table_of(task), quoted)) for task in tasks]
    assert await imperfect("official", kind, answers) == with_pipes(tasks)


async def test_an_open_quote_is_all_that_the_official_way_refuses(tasks: list[Task]) -> None:
    # Word for word, such an answer is no table for the official evaluator: it calls read_csv,
    # whose error is zeros there, whatever the reference says.
    pandas: Any = importlib.import_module("pandas")

    lost = await imperfect("official", "exact", as_answers(tasks)) - with_pipes(tasks)
    assert len(lost) == 1
    assert lost <= OPEN_QUOTES
    (task,) = (task for task in tasks if task.id in lost)
    lines = ["|".join(row) for row in table_of(task).rows]
    with pytest.raises(pandas.errors.ParserError, match="EOF inside string"):
        pandas.read_csv(io.StringIO("\n".join(lines)), sep="|")


async def test_unquoted_quotes_are_all_that_a_csv_reference_does_not_forgive(
    tasks: list[Task],
) -> None:
    # read_csv takes quotes off the answer, but not those that the CSV reference doubles.
    answers = [(with_csv(task), markdown(table_of(task))) for task in tasks]
    lost = await imperfect("official", "exact", answers) - with_pipes(tasks)
    begun = {
        task.id
        for task in tasks
        if any(cell.startswith('"') for row in table_of(task).rows for cell in row)
    }
    assert lost == begun
    assert len(lost) in (3, 61)


@pytest.mark.parametrize("mode", ["strict", "reward", "official"])
async def test_every_domain_of_the_atlas_can_be_graded_in_every_mode(mode: str) -> None:
    tasks = load_atlas(AtlasData(split="test", limit=60))
    assert len({task.source.partition("/")[0] for task in tasks}) == 10
    assert await imperfect(mode, "normalized", as_answers(tasks)) == set()
