"""Recall of BM25, dense and hybrid retrieval on real Wikipedia tables.

500 questions are made from rows of the wide tasks: half name the row and ask for a cell, half give
two cells and ask for the row. The right passage is the row's own page among 16,224.
"""

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from wideseek_core.config import cache_folder, data_folder
from wideseek_core.progress import show
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig, Method
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.index.shard import Ranking

DATA = (data_folder() or Path("data")) / "wikitables"
"""Where `$WIDESEEK_DATA` has it."""
DEPTHS = (1, 3, 10)


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    gold: frozenset[str]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def row_pages() -> dict[tuple[str, str], set[str]]:
    """URLs of the row pages, by the row's key and its table's title."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in (DATA / "pages.jsonl").open():
        page = json.loads(line)
        key, middle, rest = page["contents"].partition(" is an entry of ")
        if middle:
            found[key, rest.partition(", section ")[0]].add(page["url"])
    return found


def questions(count: int) -> list[Question]:
    pages, draw = row_pages(), random.Random(7)
    tasks = [json.loads(line) for line in (DATA / "wide_dev.jsonl").open()]
    made: list[Question] = []
    while len(made) < count:
        task = draw.choice(tasks)
        lines = task["answer"].strip().splitlines()[1:-1]
        names, row = cells(lines[0]), cells(draw.choice(lines[2:]))
        title = task["question"].split('"')[1]
        gold = pages.get((row[0], title))
        known = [
            place for place in range(1, len(names)) if row[place : place + 1] not in ([], ["-"])
        ]
        if not gold or len(known) < 2 or len(row) != len(names):
            continue
        one, two = draw.sample(known, 2)
        if len(made) % 2:
            text = f"What is the {names[one]} of {row[0]} in {title}?"
        else:
            given = f"{names[one]} {row[one]} and {names[two]} {row[two]}"
            text = f"Which {names[0]} has {given} in {title}?"
        made.append(Question(text, frozenset(gold)))
    return made


async def measure(index: Path, ranking: Ranking, asked: list[Question]) -> list[float]:
    """Recall at each depth, then milliseconds per question asked one at a time."""
    hits = [0] * len(DEPTHS)
    async with IndexSearch(index, ranking) as search:
        await search.search("warm up", 1)
        started = time.perf_counter()
        for question in asked:
            found = [one.url for one in await search.search(question.text, max(DEPTHS))]
            for place, depth in enumerate(DEPTHS):
                hits[place] += bool(question.gold & set(found[:depth]))
        spent = time.perf_counter() - started
    return [hit / len(asked) for hit in hits] + [1000 * spent / len(asked)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="BM25 only")
    parser.add_argument("--index", type=Path, help="an index built with method=hybrid")
    given = parser.parse_args()
    if not DATA.is_dir():
        show(f"skipped: {DATA} is not here, set WIDESEEK_DATA")
        return
    asked = questions(100 if given.quick else 500)
    method: Method = "bm25" if given.quick else "hybrid"
    index = given.index or cache_folder() / "bench" / f"wikitables-{method}"
    build_index(None, DATA / "pages.jsonl", index, IndexConfig(method=method))
    rankings = {"bm25": Ranking(method="bm25")}
    if not given.quick:
        rankings["dense"] = Ranking(method="dense")
        for weight in (1.0, 2.0, 4.0):
            name = f"hybrid, lexical weight {weight:g}"
            rankings[name] = Ranking(method="hybrid", lexical_weight=weight)
    show(f"{len(asked)} questions, 16,224 passages")
    show(f"{'ranking':28}{'r@1':>8}{'r@3':>8}{'r@10':>8}{'ms/query':>10}")
    for name, ranking in rankings.items():
        one, three, ten, ms = asyncio.run(measure(index, ranking, asked))
        show(f"{name:28}{one:8.3f}{three:8.3f}{ten:8.3f}{ms:10.2f}")


if __name__ == "__main__":
    main()
