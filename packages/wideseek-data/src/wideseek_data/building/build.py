"""Builds a data set: sources, tables, tasks, rewriting, checks, splits, files and card."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from wideseek_core import DataError, Judge, PageSource, Policy, SearchBackend
from wideseek_core.construction import Answerer
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import ProgressBar
from wideseek_core.search import Page
from wideseek_data.building.card import CARD, card_text, difficulty
from wideseek_data.building.config import BuildConfig
from wideseek_data.building.output import split_of, write_data
from wideseek_data.building.report import (
    BuildReport,
    OverlapReport,
    SourceReport,
    StepCounter,
)
from wideseek_data.building.second import SecondAnswers
from wideseek_data.checks.contamination import TestSet, contamination, read_test_set
from wideseek_data.checks.questions import dated, gives_away, undated_columns, without_doubles
from wideseek_data.checks.reach import Reach
from wideseek_data.rewriting.model import ModelRewriting
from wideseek_data.sources.open import found_tables, read_source
from wideseek_data.tables.table import Table
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask

REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What agents search and read."""

    search: SearchBackend
    pages: PageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildServices:
    """What a build takes from outside, through the interfaces of wideseek_core."""

    open_world: Callable[[Sequence[Page]], AbstractAsyncContextManager[World]]
    """Search and pages over the data set's own pages."""
    judge: Judge
    """Compares answers with the gold, without a model."""
    writer: Policy | None = None
    """Words questions; needed with `rewriting`."""
    open_answerer: Callable[[World, Sequence[PlannedTask], dict[str, Table]], Answerer] | None = (
        None
    )
    """Gives second answers; needed unless nobody does."""


@dataclass(slots=True)
class _Build:
    config: BuildConfig
    services: BuildServices
    sets: Sequence[TestSet]
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    pages: dict[str, Page] = field(default_factory=dict[str, Page])
    sources: list[SourceReport] = field(default_factory=list[SourceReport])
    steps: list[StepCounter] = field(default_factory=list[StepCounter])
    rewriting: ModelRewriting | None = None

    def step(self, name: str) -> StepCounter:
        """A new step of the report."""
        self.steps.append(StepCounter(name))
        return self.steps[-1]

    def read(self) -> None:
        """Reads all sources."""
        for source in self.config.sources:
            content = read_source(source)
            refused = Counter[str]()
            before = len(self.tables)
            made: list[Page] = []
            for found in found_tables(content):
                if found.table is None:
                    refused[found.problem] += 1
                elif found.table.id in self.tables:
                    refused["another table of this title and these columns"] += 1
                else:
                    self.tables[found.table.id] = found.table
                    made += found.pages
            self.pages |= {page.url: page for page in (*content.pages, *made)}
            path: object = getattr(source, "path", "")
            self.sources.append(
                SourceReport(
                    name=source.name or Path(str(path)).stem,
                    license=source.license,
                    attribution=source.attribution,
                    tables=len(self.tables) - before,
                    pages=len(content.pages) + len(made),
                    refused=dict(sorted(refused.items())),
                )
            )
        if not self.tables:
            raise DataError("the sources hold no table that questions can be asked about")

    def make(self) -> list[PlannedTask]:
        """Draws the tasks."""
        config = self.config
        amounts = Amounts(
            wide_per_table=config.wide_per_table,
            short_per_table=config.short_per_table,
            seed=config.seed,
            languages=config.languages,
        )
        step = self.step("recipes with one right answer")
        plans = list(make_tasks(list(self.tables.values()), amounts, step.dropped))
        step.kept, step.given = len(plans), len(plans) + step.dropped.total()
        return plans

    def filtered(
        self, name: str, plans: Iterable[PlannedTask], problem: Callable[[PlannedTask], str]
    ) -> list[PlannedTask]:
        """The tasks without a problem."""
        step = self.step(name)
        return [plan for plan in plans if step.take(problem(plan))]

    def decontaminated(self, name: str, plans: Iterable[PlannedTask]) -> list[PlannedTask]:
        """The tasks that are not shared with the test sets."""
        rule = self.config.checks.decontaminate
        return self.filtered(name, plans, lambda plan: contamination(plan, self.sets, rule))

    def without_doubles(self, plans: Sequence[PlannedTask]) -> list[PlannedTask]:
        """One of each group of equal or nearly equal tasks."""
        step = self.step("doubles")
        found = without_doubles(plans, self.config.checks.similarity)
        return [plan for plan, problem in found if step.take(problem)]

    def with_dates(self, plans: Sequence[PlannedTask]) -> list[PlannedTask]:
        """Repairs or drops questions about facts of an unknown time."""
        way, step = self.config.checks.undated, self.step("facts that need a date")
        kept: list[PlannedTask] = []
        for plan in plans:
            undated = way != "keep" and bool(undated_columns(plan, self.tables))
            if not step.take("undated" if undated and way == "drop" else ""):
                continue
            if undated:
                step.repaired["said which figures are meant"] += 1
            kept.append(dated(plan) if undated else plan)
        return kept

    async def worded(self, plans: Sequence[PlannedTask]) -> list[PlannedTask]:
        """The tasks in a model's words, if one is to word them."""
        config = self.config.rewriting
        if config is None or self.services.writer is None:
            return list(plans)
        self.rewriting = ModelRewriting(config, self.services.writer, self.config.folder)
        step = self.step("rewriting by a model")
        found = await self.rewriting.word_all(plans, self.tables)
        step.given = step.kept = len(found)
        step.repaired = self.rewriting.counts
        # A model may well find the words that a test set has.
        return self.decontaminated("not shared with test sets in other words", found)

    async def reachable(self, plans: Sequence[PlannedTask], world: World) -> list[PlannedTask]:
        """The tasks whose facts can be found."""
        if not self.config.checks.reachable:
            return list(plans)
        reach = Reach(world.search, world.pages, self.config.checks.results)
        step = self.step("answerable from the pages")
        return [plan for plan in plans if step.take(await reach.problem(plan, self.tables))]

    async def gold_is_right(self, plans: Sequence[PlannedTask]) -> list[PlannedTask]:
        """The tasks whose own gold, given as an answer, gets the full score."""
        step = self.step("the gold scores 1 itself")
        kept: list[PlannedTask] = []
        for plan in plans:
            score = await self.services.judge.score(plan.task, oracle_answer(plan))
            if step.take("" if score.value == 1.0 else "scores less"):
                kept.append(plan)
        return kept

    async def agreed(self, plans: Sequence[PlannedTask], world: World) -> list[PlannedTask]:
        """The tasks without those whose second answer disagrees."""
        config, opened = self.config.checks.second, self.services.open_answerer
        if config.by == "nobody" or opened is None:
            return list(plans)
        step = self.step(f"second answer by the {config.by}")
        answers = SecondAnswers(config, self.services.judge, self.config.folder)
        return await answers.agreed(plans, opened(world, plans, self.tables), step)

    def divided(self, plans: Sequence[PlannedTask]) -> dict[str, list[PlannedTask]]:
        """The tasks by split."""
        step = self.step("one split")
        found: dict[str, list[PlannedTask]] = {name: [] for name in self.config.splits}
        for plan in plans:
            split = split_of(plan.entities, self.config.splits)
            if step.take("" if split else "entities of two splits"):
                found[split].append(plan)
        return found


async def build_data(config: BuildConfig, services: BuildServices) -> BuildReport:
    """Builds the data set of a configuration in its folder, and reports what was done.

    Everything but paid and second answers is computed anew when a run resumes; files appear at the
    end, each whole. Raises `ConfigError`, and `DataError` also if no task is left.
    """
    started = time.monotonic()
    sets = [read_test_set(item) for item in config.checks.test_sets]
    build = _Build(config, services, sets)
    with ProgressBar("build", 8) as bar:
        build.read()
        bar.advance(1)
        plans = build.without_doubles(build.make())
        plans = build.decontaminated("not shared with test sets", plans)
        bar.advance(1)
        async with services.open_world(tuple(build.pages.values())) as world:
            plans = await build.reachable(plans, world)
            bar.advance(1)
            plans = build.with_dates(await build.worded(plans))
            bar.advance(1)
            plans = build.filtered("not answered by the question", plans, _given_away)
            plans = build.without_doubles(plans)
            plans = await build.gold_is_right(plans)
            bar.advance(1)
            plans = await build.agreed(plans, world)
        bar.advance(1)
        splits = build.divided(plans)
        files = write_data(config.folder, splits, build.tables.values(), build.pages.values())
        bar.advance(2)
    report = _report(build, splits, files, time.monotonic() - started)
    write_atomically(config.folder / REPORT, to_json(report, indent=2) + "\n")
    write_atomically(config.folder / CARD, card_text(report, config.folder.name))
    if not any(splits.values()):
        raise DataError(_nothing_left(report, config.folder))
    return report


def _nothing_left(report: BuildReport, folder: Path) -> str:
    """Which step dropped the last tasks, and why."""
    step = next(step for step in report.steps if not step.kept)
    reasons = ", ".join(f"{count} {name}" for name, count in step.dropped.items())
    return (
        f"no task is left after '{step.name}' ({reasons or 'none was given'}): see {folder / CARD}"
    )


def _given_away(plan: PlannedTask) -> str:
    return "the question holds the answer" if gives_away(plan, plan.task.question) else ""


def oracle_answer(plan: PlannedTask) -> str:
    """The right answer as an agent would write it."""
    gold = plan.task.gold
    if gold.kind == "table":
        return f"```markdown\n{gold.text}\n```"
    return f"\\boxed{{{gold.answers[0]}}}"


def _report(
    build: _Build, splits: dict[str, list[PlannedTask]], files: dict[str, int], seconds: float
) -> BuildReport:
    plans = [plan for some in splits.values() for plan in some]
    shapes = Counter(f"{plan.recipe.kind}/{plan.recipe.shape}" for plan in plans)
    rows = sorted(plan.task.rows for plan in plans if plan.recipe.kind == "wide")
    quantiles = {"smallest": 0.0, "median": 0.5, "90 %": 0.9, "largest": 1.0}
    ledger = build.rewriting.ledger if build.rewriting else None
    return BuildReport(
        sources=tuple(build.sources),
        steps=tuple(step.report() for step in build.steps),
        files=files,
        shapes=dict(sorted(shapes.items())),
        languages=dict(sorted(Counter(plan.task.language for plan in plans).items())),
        rows={name: rows[int(at * (len(rows) - 1))] for name, at in quantiles.items()}
        if rows
        else {},
        requests=ledger.requests if ledger else 0,
        paid=ledger.committed if ledger else Decimal(0),
        seconds=seconds,
        difficulty=difficulty(build.config.scores, plans),
        overlaps=tuple(_overlap(build, known, plans) for known in build.sets),
    )


def _overlap(build: _Build, known: TestSet, plans: Sequence[PlannedTask]) -> OverlapReport:
    """What was dropped for one test set, and which tasks are left that share entities with it."""
    dropped = Counter[str]()
    for step in build.steps:
        for problem, count in step.dropped.items():
            name, _, reason = problem.rpartition(": ")
            if name == known.name:
                dropped[reason] += count
    rule = build.config.checks.decontaminate
    shared = Counter(filter(None, (known.kept_for(plan, rule) for plan in plans)))
    return OverlapReport(name=known.name, dropped=dict(dropped), kept=dict(sorted(shared.items())))
