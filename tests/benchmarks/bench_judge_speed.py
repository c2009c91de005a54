"""How fast the offline judge scores tables on one core, by rules and by how noisy answers are.

Run: `python tests/benchmarks/bench_judge_speed.py [--quick]`
"""

import argparse
import asyncio
import random
import time

from wideseek_core import TableGold, Task
from wideseek_core.progress import show
from wideseek_judge import JudgeConfig, open_judge

COLUMNS = ("Name", "Country", "Population", "Founded", "Area (km²)", "Note")


def row(draw: random.Random, number: int) -> list[str]:
    """One row of six cells: two names, two numbers, a date, some words."""
    return [
        f"Saint-Étienne {number} of {draw.choice('ABCDEFGH')}",
        draw.choice(["Côte d'Ivoire", "Germany", "South Korea", "Peru"]),
        f"{draw.randrange(10_000, 9_999_999):,}",
        f"{draw.randrange(1, 28)} March {draw.randrange(1200, 2020)}",
        f"{draw.uniform(1, 5000):.1f}",
        " ".join(draw.choice(["old", "harbour", "twin", "capital", "fort"]) for _ in range(5)),
    ]


def noisy(draw: random.Random, cell: str) -> str:
    """The cell, in one of five cases spelled otherwise, in one of ten wrong."""
    chance = draw.random()
    if chance < 0.1:
        return cell[::-1]
    if chance < 0.3:
        return draw.choice([f"**{cell}**", cell.replace(",", ""), cell.upper(), f"{cell}[1]"])
    return cell


def markdown(rows: list[list[str]]) -> str:
    """A fenced table."""
    lines = [f"| {' | '.join(cells)} |" for cells in [list(COLUMNS), ["---"] * 6, *rows]]
    return "```markdown\n" + "\n".join(lines) + "\n```"


def cases(count: int) -> list[tuple[Task, str, str]]:
    """Tasks of 40 rows, each with a perfect and a noisy answer; no two alike."""
    draw = random.Random(7)
    made: list[tuple[Task, str, str]] = []
    for number in range(count):
        rows = [row(draw, index) for index in range(40)]
        text = markdown(rows)
        gold = TableGold(text=text, key_columns=("Name",), required_columns=COLUMNS)
        answer = markdown([[noisy(draw, cell) for cell in cells] for cells in rows])
        made.append((Task(id=str(number), question="Which towns?", gold=gold), text, answer))
    return made


async def seconds(mode: str, kind: str, work: list[tuple[Task, str]]) -> float:
    """Processor time of scoring all pairs, one after the other."""
    config = JudgeConfig.model_validate({"mode": mode, "kind": kind})
    async with open_judge(config) as judge:
        started = time.process_time()
        for task, answer in work:
            await judge.score(task, answer)
        return time.process_time() - started


HOSTILE = {
    "200,000 pipes": "|" * 200_000,
    "100,000 lines of one pipe": "|\n" * 100_000,
    "100,000 escaped pipes": "\\|" * 100_000,
    "200,000 backslashes": "\\" * 200_000 + "|",
    "20,000 headers": "| Name | Country |\n|---|---|\n" * 20_000,
    "emphasis never closed": "| " + "*_" * 100_000 + " |\n|---|\n| x |",
    "100,000 fences": "```\n" * 100_000,
    "a cell of 200,000 digits": "| " + "1," * 100_000 + " |\n|---|\n| x |",
}


async def hostile(task: Task) -> None:
    """Prints how long the longest of unkind and of random texts take."""
    draw = random.Random(3)
    slowest = 0.0
    async with open_judge(JudgeConfig()) as judge:
        for _ in range(20_000):
            text = draw.randbytes(draw.randrange(400)).decode("utf-8", "replace")
            started = time.perf_counter()
            await judge.score(task, text)
            slowest = max(slowest, time.perf_counter() - started)
        show("\n| unkind text | ms |\n|---|---|")
        show(f"| slowest of 20,000 random byte strings | {1000 * slowest:.1f} |")
        for name, text in HOSTILE.items():
            started = time.perf_counter()
            await judge.score(task, text)
            show(f"| {name} | {1000 * (time.perf_counter() - started):.0f} |")


async def run(count: int) -> None:
    """Prints a table of times and ratios."""
    made = cases(count)
    perfect = [(task, text) for task, text, _ in made]
    spoilt = [(task, answer) for task, _, answer in made]
    show(f"{count} tables of 40x6, one core\n")
    show("| mode | judge | answers | CPU s | ms/table | ratio to strict, noisy |")
    show("|---|---|---|---|---|---|")
    first = await seconds("strict", "normalized", spoilt)
    lines = [("strict", "normalized", "noisy", first)]
    for mode, kind, name, work in (
        ("strict", "normalized", "perfect", perfect),
        ("reward", "normalized", "noisy", spoilt),
        ("strict", "exact", "noisy", spoilt),
        ("official", "normalized", "noisy", spoilt),
    ):
        lines.append((mode, kind, name, await seconds(mode, kind, work)))
    for mode, kind, name, taken in lines:
        per_table = f"{1000 * taken / count:.2f}"
        show(f"| {mode} | {kind} | {name} | {taken:.2f} | {per_table} | {taken / first:.2f} |")
    await hostile(made[0][0])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tables")
    asyncio.run(run(100 if parser.parse_args().quick else 1000))


if __name__ == "__main__":
    main()
