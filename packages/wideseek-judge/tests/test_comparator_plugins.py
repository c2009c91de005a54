"""A comparator of another distribution: a folder on the path, no edit of this package."""

import os
import subprocess
import sys
from pathlib import Path

PLUGIN = """
def same_initial(answer, reference, criterion):
    if criterion == "fail":
        raise ValueError("broken")
    return float(answer[:1] == reference[:1])
"""
PROGRAM = """
import asyncio, sys
from wideseek_core import ColumnRule, TableGold, Task
from wideseek_judge import JudgeConfig, open_judge

rule = ColumnRule(metric=("same_initial",), criterion=sys.argv[1])
gold = TableGold(
    text="| k | v |\\n|---|---|\\n| A | blue |\\n| B | red |",
    key_columns=("k",), required_columns=("k", "v"), rules={"v": rule},
)

async def main():
    async with open_judge(JudgeConfig()) as judge:
        answer = "| k | v |\\n|---|---|\\n| A | black |\\n| B | white |"
        score = await judge.score(Task(id="t", question="q", gold=gold), answer)
        print(score.state, score.value, [cell.by for cell in score.cells], score.message)

asyncio.run(main())
"""


def run(
    folder: Path, criterion: str, *, installed: bool = True
) -> subprocess.CompletedProcess[str]:
    if installed:
        (folder / "letters.py").write_text(PLUGIN)
        info = folder / "letters-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
        points = "[wideseek.comparators]\nsame_initial = letters:same_initial\n"
        (info / "entry_points.txt").write_text(points)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, criterion],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_comparator_scores_cells(tmp_path: Path) -> None:
    shown = run(tmp_path, "").stdout
    assert shown.startswith("scored 0.75 ['key', 'same_initial', 'key', 'same_initial']")


def test_a_comparator_that_fails_leaves_the_answer_unscored(tmp_path: Path) -> None:
    shown = run(tmp_path, "fail").stdout
    assert shown.startswith("unscored 0.0 []")
    assert "comparator 'same_initial': ValueError: broken" in shown


def test_a_comparator_that_is_not_installed_is_named(tmp_path: Path) -> None:
    failed = run(tmp_path, "", installed=False)
    assert "DataError: unknown function 'same_initial' for column 'v'" in failed.stderr
