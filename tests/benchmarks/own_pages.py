"""How well a policy reads pages that are written otherwise than those that it was trained on.

    python tests/benchmarks/own_pages.py OUT.jsonl policy.model=smollm2 policy.max_repeats=3
    python tests/benchmarks/own_pages.py OUT.jsonl --invented 4 --max-rows 5 policy.model=smollm2 \\
        policy.max_repeats=3
    python tests/benchmarks/own_pages.py OUT.jsonl configs/engine/vllm.yaml \\
        policy.model=models/smollm2-135m policy.adapter=ADAPTER policy.max_repeats=3

Asks, greedily, about invented listings in layouts that are held out, which lie in one corpus, and
about the small corpora of `own_pages.json`, which are written as people keep their notes; each of
those is a corpus of its own. What follows OUT are files and settings of `wideseek widesearch`.
Every question is a line of OUT; a table of means by layout of names and of values is shown at the
end, and again with `--table`.

With the builtin engine on a CPU a small question takes half a minute; `--invented 4` asks one for
each pair of layouts.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter

from wideseek_agents import Team
from wideseek_apps.evaluation import WideSearchConfig, check_evaluation
from wideseek_apps.policy import OpenModel, open_model
from wideseek_apps.team import team_of
from wideseek_apps.world import CorpusWorld
from wideseek_core import Judge, Record, TableGold, TableMetrics, Task
from wideseek_core.config import load_arguments
from wideseek_core.exits import exit_on_error
from wideseek_core.tables import MarkdownTable
from wideseek_data.stored_pages import StoredPage
from wideseek_data.teaching.invented_listings import invent_worlds
from wideseek_data.teaching.listing import Listing
from wideseek_judge import open_judge

WRITTEN = Path(__file__).with_suffix(".json")
METRICS = ("item_f1", "row_f1", "success")
INVENTED = 60
"""Invented worlds, as many as `wideseek wikitables` writes for measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and how its pages are written."""

    task: Task
    names: str
    """Layout of the page that names the entries."""
    values: str
    """Layout of the pages that tell their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Pages that are searched together, and questions about them."""

    name: str
    pages: Sequence[StoredPage]
    questions: Sequence[Question]


class WrittenCorpus(Record):
    """An entry of `own_pages.json`: a corpus, a question about it, and the right table."""

    name: str
    names: str
    values: str
    question: str
    columns: tuple[str, ...]
    """The first is that of the names."""
    rows: tuple[tuple[str, ...], ...]
    pages: tuple[StoredPage, ...]

    @property
    def corpus(self) -> Corpus:
        """What is asked, with its pages."""
        gold = TableGold(
            text=MarkdownTable(columns=self.columns, rows=self.rows).markdown(),
            key_columns=self.columns[:1],
            required_columns=self.columns,
        )
        task = Task(
            id=self.name, question=self.question, gold=gold, source="written", rows=len(self.rows)
        )
        question = Question(task=task, names=self.names, values=self.values)
        return Corpus(name=self.name, pages=self.pages, questions=[question])


def written() -> list[Corpus]:
    """The corpora of `own_pages.json`."""
    found = TypeAdapter(list[WrittenCorpus]).validate_json(WRITTEN.read_bytes())
    return [one.corpus for one in found]


def invented(count: int, max_rows: int) -> Corpus:
    """Up to so many questions about invented listings, from all pairs of layouts in turn."""
    worlds = invent_worlds(INVENTED, "test", set())
    pairs: dict[tuple[str, str], list[Listing]] = {}
    for asked in (world[0] for world in worlds if len(world[0].rows) <= max_rows):
        pairs.setdefault((asked.names_layout, asked.values_layout), []).append(asked)
    turns = [one for turn in zip_longest(*pairs.values()) for one in turn if one is not None]
    questions = [
        Question(task=one.task, names=one.names_layout, values=one.values_layout)
        for one in turns[:count]
    ]
    pages = [page for world in worlds for listing in world for page in listing.pages]
    return Corpus(name="invented", pages=pages, questions=questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every corpus is measured with."""

    config: WideSearchConfig
    model: OpenModel
    judge: Judge
    out: Path
    slots: asyncio.Semaphore

    async def corpus(self, corpus: Corpus, folder: Path) -> None:
        """Asks everything about one corpus."""
        path = folder / f"{corpus.name}.jsonl"
        lines = "".join(f"{page.model_dump_json()}\n" for page in corpus.pages)
        path.write_text(lines, "utf-8")
        config = self.config.model_copy(update={"world": CorpusWorld(pages=path)})
        async with team_of(config, self.model) as team:
            await asyncio.gather(*(self._ask(team, one) for one in corpus.questions))

    async def _ask(self, team: Team, one: Question) -> None:
        async with self.slots:
            episode = await team.run(one.task)
            metrics = (await self.judge.score(one.task, episode.answer)).metrics
        assert isinstance(metrics, TableMetrics)
        line = {
            "id": one.task.id,
            "source": one.task.source,
            "names": one.names,
            "values": one.values,
            "rows": one.task.rows,
            **{name: round(getattr(metrics, name), 4) for name in METRICS},
            "seconds": round(episode.seconds, 1),
            "answer": episode.answer,
            "error": episode.error,
        }
        with self.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


async def measure(config: WideSearchConfig, corpora: Iterable[Corpus], out: Path) -> None:
    """Asks the model about all corpora, and writes a line for each question."""
    greedy = config.policy.model_copy(update={"temperature": 0.0})
    config = config.model_copy(update={"policy": greedy})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("")
    with TemporaryDirectory() as folder:
        async with (
            open_model(greedy, with_greedy=False) as model,
            open_judge(config.judge) as judge,
        ):
            slots = asyncio.Semaphore(config.run.max_concurrent)
            bench = Bench(config=config, model=model, judge=judge, out=out, slots=slots)
            await asyncio.gather(*(bench.corpus(one, Path(folder)) for one in corpora))


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Means by layout of names and of values, for each kind of corpus."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["source"], "all", ""), []).append(line)
        for part in ("names", "values"):
            groups.setdefault((line["source"], part, line[part]), []).append(line)
    rows = [
        (*group, str(len(some)), *(f"{fmean(one[name] for one in some):.3f}" for name in METRICS))
        for group, some in sorted(groups.items())
    ]
    columns = ("pages", "by", "layout", "questions", "item F1", "row F1", "success")
    return MarkdownTable(columns=columns, rows=tuple(rows)).markdown()


def main() -> None:
    """One policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="JSON lines, one a question")
    parser.add_argument("settings", nargs="*", help="files and settings of wideseek widesearch")
    parser.add_argument("--invented", type=int, default=INVENTED, help="questions about them")
    parser.add_argument("--max-rows", type=int, default=12, help="rows of those questions")
    parser.add_argument("--written", type=int, default=99, help="corpora of own_pages.json")
    parser.add_argument("--table", action="store_true", help="only show the table of OUT")
    given = parser.parse_intermixed_args()
    if not given.table:
        # The policy's settings are the command's; its data and world are replaced.
        config = load_arguments(WideSearchConfig, given.settings, usage="").config
        check_evaluation(config)
        corpora = written()[: given.written]
        if given.invented:
            corpora.append(invented(given.invented, given.max_rows))
        asyncio.run(measure(config, corpora, given.out))
    text = given.out.read_text("utf-8")
    sys.stdout.write(table([json.loads(line) for line in text.splitlines()]) + "\n")


if __name__ == "__main__":
    with exit_on_error():
        main()
