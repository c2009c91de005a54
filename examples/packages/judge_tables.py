"""wideseek-judge alone: score a table, and see what decided on each cell."""

import asyncio

from wideseek_core import TableGold, Task
from wideseek_judge import JudgeConfig, open_judge

GOLD = TableGold(
    text="| Town | People |\n|---|---|\n| Ulm | 128,928 |\n| Bonn | 336,465 |",
    key_columns=("Town",),
    required_columns=("Town", "People"),
)
ANSWER = "| Town | People |\n|---|---|\n| ULM | 128928 |\n| Bonn | about 3 |"


async def main() -> None:
    """Judges by the strict rules, offline."""
    async with open_judge(JudgeConfig(kind="normalized", mode="strict")) as judge:
        score = await judge.score(Task(id="1", question="Which towns?", gold=GOLD), ANSWER)
    for cell in score.cells:
        print(f"{cell.column:8} {cell.answer:10} {cell.gold:10} {cell.score:g}  {cell.by}")
    print(f"item F1 {score.value:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
