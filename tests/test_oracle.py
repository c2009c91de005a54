"""Each reference table of real Wikipedia tables, given as the answer, must score 1."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from wideseek_core import Score, TableGold, TableMetrics, Task
from wideseek_core.tables import MarkdownTable, parse_table
from wideseek_judge import JudgeConfig, open_judge

WIDE = Path(__file__).parents[2] / "shared/data/wikitables/wide_dev.jsonl"

pytestmark = pytest.mark.skipif(not WIDE.exists(), reason="the wikitables data is not here")

OPEN_QUOTE = "wt_a1453f4d"
"""A cell that begins with a quote which is never closed."""


def tasks() -> list[Task]:
    rows = [json.loads(line) for line in WIDE.read_text("utf-8").splitlines()]
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
        for row in rows
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


@pytest.mark.parametrize("kind", ["exact", "normalized"])
@pytest.mark.parametrize("mode", ["strict", "reward"])
async def test_every_reference_as_its_own_answer_scores_one(kind: str, mode: str) -> None:
    found = tasks()
    assert len(found) == 700
    answers = [(task, task.gold.text) for task in found if isinstance(task.gold, TableGold)]
    assert await imperfect(mode, kind, answers) == set()


@pytest.mark.parametrize("kind", ["exact", "normalized"])
async def test_every_reference_is_right_in_the_official_way_too(kind: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("dateparser")
    # As official files hold it: a CSV reference, and an answer whose quotes read_csv gives back.
    answers = [(with_csv(task), markdown(table_of(task), quoted)) for task in tasks()]
    assert await imperfect("official", kind, answers) == set()


async def test_an_open_quote_is_all_that_the_official_way_refuses() -> None:
    # Word for word, one of the 700 answers is no table for the official evaluator: it calls
    # read_csv, whose error is zeros there, whatever the reference says.
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("dateparser")
    found = tasks()
    answers = [(task, task.gold.text) for task in found if isinstance(task.gold, TableGold)]
    assert await imperfect("official", "exact", answers) == {OPEN_QUOTE}
    (task,) = (task for task in found if task.id == OPEN_QUOTE)
    lines = ["|".join(row) for row in table_of(task).rows]
    with pytest.raises(pandas.errors.ParserError, match="EOF inside string"):
        pandas.read_csv(io.StringIO("\n".join(lines)), sep="|")


async def test_unquoted_quotes_are_all_that_a_csv_reference_does_not_forgive() -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("dateparser")
    # read_csv takes quotes off the answer, but not those that the CSV reference doubles.
    found = tasks()
    lost = await imperfect(
        "official", "exact", [(with_csv(task), markdown(table_of(task))) for task in found]
    )
    begun = (
        task.id
        for task in found
        if any(cell.startswith('"') for row in table_of(task).rows for cell in row)
    )
    assert lost == set(begun)
    assert len(lost) == 61
