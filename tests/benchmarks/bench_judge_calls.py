"""How many requests a model judge takes against one request per column, with equal scores.

A stub stands for the model: it decides by an answer's hidden true value, so both ways of asking
must reach the same scores. Noisy copies of Wikipedia tables are judged in the official way (every
cell, one request per column and key column, no cache) and in ours.

Run: `python tests/benchmarks/bench_judge_calls.py [--quick | --all] [WIDE.jsonl]`
"""

import asyncio
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wideseek_core import Message, Score, TableGold, Task
from wideseek_core.config import data_folder
from wideseek_core.progress import show
from wideseek_core.tables import MarkdownTable, parse_table
from wideseek_judge import JudgeConfig, open_judge

COUNTS = {"--quick": 20, "--all": 1_000_000}
DATA = (data_folder() or Path("data")) / "wikitables" / "wide_dev.jsonl"
"""Where `$WIDESEEK_DATA` has it; `tests/data/tables.jsonl` is a small file of the same form."""


class Oracle:
    """A model that sees through noise: drops decoration, and knows the paraphrases."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, messages: Sequence[Message]) -> str:
        self.calls += 1
        text = messages[0].content
        groups = shown(text, "Groups, as JSON:")
        return json.dumps({at: number for group in groups for at, number in decided(group)})


def decided(group: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The number of each item of a group."""
    if "items" in group:
        for at, item in group["items"].items():
            yield at, int(meaning(item["answer"]) == meaning(item["reference"]))
        return
    references: dict[str, int] = {}
    for number, name in group["references"].items():
        references.setdefault(meaning(name), int(number))
    for at, value in group["values"].items():
        yield at, references.get(meaning(value), 0)


def shown(prompt: str, mark: str) -> Any:
    """The JSON behind a mark."""
    start = prompt.index(mark) + len(mark)
    return json.JSONDecoder().raw_decode(prompt[start:].lstrip())[0]


def meaning(value: str) -> str:
    """What is left of a value without the noise that `noisy` adds."""
    bare = re.sub(r"^the one called |\(sic\)|[*`]|\[\d+\]", "", value.casefold())
    bare = re.sub(r"(?<=\d),(?=\d{3}\b)", "", bare)
    if re.fullmatch(r"\+?\d*\.\d+", bare):
        return f"{float(bare):.12g}"
    letters = "".join(character for character in bare if character.isalnum() or character == "@")
    return "" if letters in ("", "na", "nan", "none", "null", "nil") else letters


def noisy(draw: random.Random, cell: str) -> str:
    """Other spellings, paraphrases that only a model sees through, and wrong values."""
    chance = draw.random()
    if chance < 0.70:
        return cell
    if chance < 0.80:
        return draw.choice([f"**{cell}**", cell.upper(), cell.replace(",", "")])
    if chance < 0.90:
        return f"the one called {cell}"
    if chance < 0.95:
        return f"{cell}x"
    return "-"


def spoilt(draw: random.Random, table: MarkdownTable) -> str:
    """A noisy copy as Markdown, some rows left out."""
    rows = [[noisy(draw, cell) for cell in row] for row in table.rows if draw.random() > 0.1]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    head = [list(table.columns), ["---"] * len(table.columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*head, *escaped])


def load(path: Path, count: int) -> list[tuple[Task, str]]:
    """Tasks with one noisy answer each."""
    draw = random.Random(11)
    work: list[tuple[Task, str]] = []
    for line in path.read_text("utf-8").splitlines()[:count]:
        row = json.loads(line)
        gold = TableGold(
            text=row["answer"],
            key_columns=tuple(row["unique_columns"]),
            required_columns=tuple(row["evaluation"]["required"]),
        )
        table = parse_table(row["answer"])
        assert table is not None
        task = Task(id=row["instance_id"], question=row["question"], gold=gold)
        work.append((task, spoilt(draw, table)))
    return work


async def judge(work: list[tuple[Task, str]], **settings: Any) -> tuple[int, list[float]]:
    """Requests and scores."""
    oracle = Oracle()
    config = JudgeConfig.model_validate({"kind": "llm", "mode": "reward", **settings})
    async with open_judge(config, oracle) as opened:
        slots = asyncio.Semaphore(16)

        async def one(task: Task, answer: str) -> Score:
            async with slots:
                return await opened.score(task, answer)

        scores = await asyncio.gather(*(one(task, answer) for task, answer in work))
    return oracle.calls, [score.value for score in scores]


async def run(path: Path, count: int) -> None:
    """Prints a table of requests and whether the scores agree."""
    work = load(path, count)
    count = len(work)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        column, wanted = await judge(work, skip_certain=False, batching="column", cache=None)
        open_only, by_column = await judge(work, batching="column", cache=None)
        table, first = await judge(work, cache=cache)
        again, second = await judge(work, cache=cache)
        shared, together = await judge(work, batching="shared", cache=None)
    show(f"{count} noisy tables, mean item F1 {sum(wanted) / count:.4f}\n")
    show("| way | requests/table | ratio | scores equal |")
    show("|---|---|---|---|")
    for name, calls, scores in (
        ("one request per column (the official way)", column, wanted),
        ("one request per column, open cells only", open_only, by_column),
        ("one request per table, open cells only (default)", table, first),
        ("the same again, from the cache", again, second),
        ("shared by 16 answers at a time", shared, together),
    ):
        equal = max(abs(one - two) for one, two in zip(wanted, scores, strict=True)) < 1e-9
        show(
            f"| {name} | {calls / count:.2f} | {calls / column:.3f} | {'yes' if equal else 'NO'} |"
        )


def main() -> None:
    """Runs the benchmark on 100 tables; `--quick` takes 20, `--all` all of them."""
    arguments = [name for name in sys.argv[1:] if name not in COUNTS]
    path = Path(arguments[0]) if arguments else DATA
    if not path.exists():
        show(f"no tables at {path}: give a jsonl file of wide tasks")
        return
    count = next((COUNTS[name] for name in sys.argv[1:] if name in COUNTS), 100)
    asyncio.run(run(path, count))


if __name__ == "__main__":
    main()
