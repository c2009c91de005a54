"""Each reference table of real Wikipedia tables, given as the answer, must score 1."""

import json
from pathlib import Path

import pytest

from wideseek_core import Score, TableGold, TableMetrics, Task
from wideseek_judge import JudgeConfig, open_judge

WIDE = Path(__file__).parents[2] / "shared/data/wikitables/wide_dev.jsonl"

pytestmark = pytest.mark.skipif(not WIDE.exists(), reason="the wikitables data is not here")

UNREADABLE_BY_CSV = {"wt_a1453f4d"}
"""A cell that begins with a quote which is never closed: `read_csv` refuses the table."""


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


def perfect(score: Score) -> bool:
    found = score.metrics
    assert isinstance(found, TableMetrics)
    return found.item_f1 == found.row_f1 == found.success == 1.0


@pytest.mark.parametrize("kind", ["exact", "normalised"])
@pytest.mark.parametrize("mode", ["strict", "reward", "official"])
async def test_every_reference_as_its_own_answer_scores_one(kind: str, mode: str) -> None:
    config = JudgeConfig.model_validate({"kind": kind, "mode": mode})
    imperfect: set[str] = set()
    async with open_judge(config) as judge:
        for task in tasks():
            assert isinstance(task.gold, TableGold)
            if not perfect(await judge.score(task, task.gold.text)):
                imperfect.add(task.id)
    assert imperfect == (UNREADABLE_BY_CSV if mode == "official" else set())
