"""`wideseek data`: the construction of tasks joined with search, models, agents and the judge."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

from pydantic import BaseModel, ValidationError

from wideseek_agents import ChatPolicy, ScriptedPolicy, Team, TeamConfig
from wideseek_apps.data_config import DataBuildConfig, DemonstrateConfig
from wideseek_apps.policy import open_policy
from wideseek_apps.table_demos import Demonstrating, Demonstrator, passage
from wideseek_core import DataError, Policy, Task
from wideseek_core.counting import counted
from wideseek_core.errors import PolicyError
from wideseek_core.files import file_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import ProgressBar
from wideseek_core.runs import read_config, sole_writer, store_config
from wideseek_core.search import Page
from wideseek_data.building.build import BuildServices, World, build_data
from wideseek_data.building.output import read_plans, read_stored_pages, read_tables, split_of
from wideseek_data.building.report import BuildReport
from wideseek_data.rewriting.model import LEDGER
from wideseek_data.tables.table import Table
from wideseek_data.tasks.make import Amounts
from wideseek_data.tasks.recipes import PlannedTask
from wideseek_data.teaching.invented_tables import InventedTables, TableWorld, invent_tables
from wideseek_data.teaching.table_teacher import TableTeacher
from wideseek_judge import JudgeConfig, open_judge
from wideseek_tools.backends.memory import MemoryPages, MemorySearch

RESUMABLE_KEYS = ("writer", "scores", "rewriting.budget", "rewriting.max_concurrent")
"""Settings that a resumed build may change."""
CONFIG = "config.json"
INVENTED = InventedTables(amounts=Amounts(wide_per_table=6, short_per_table=9))


async def build(config: DataBuildConfig) -> BuildReport:
    """Builds the data set, or resumes its building.

    Raises `ConfigError`, `DataError`, and `PolicyUnavailable` if nobody serves the writer.
    """
    with sole_writer(config.folder):
        store_config(config.folder / CONFIG, config, resuming=True, resumable_keys=RESUMABLE_KEYS)
        async with AsyncExitStack() as stack:
            judge = await stack.enter_async_context(open_judge(JudgeConfig()))
            writer = None
            if config.writer is not None:
                writer = await stack.enter_async_context(ChatPolicy(config.writer))
                if not (config.folder / LEDGER).exists():
                    # Each request to nobody would count against the budget.
                    await writer.reach()
            answering = None
            if config.answerer is not None and config.checks.second.by == "model":
                answering = await stack.enter_async_context(open_policy(config.answerer))

            def open_answerer(
                world: World, plans: Sequence[PlannedTask], tables: dict[str, Table]
            ) -> "TeamAnswerer":
                policy = answering or ScriptedPolicy(TableTeacher(plans, tables).respond)
                return TeamAnswerer(config.team, policy, world)

            services = BuildServices(
                open_world=open_memory_world,
                judge=judge,
                writer=writer,
                open_answerer=open_answerer,
            )
            return await build_data(config, services)


@asynccontextmanager
async def open_memory_world(pages: Sequence[Page]) -> AsyncGenerator[World]:
    """Search and pages in memory."""
    yield World(search=MemorySearch(map(passage, pages)), pages=MemoryPages(pages))


class TeamAnswerer:
    """Answers tasks by a team of agents."""

    def __init__(self, config: TeamConfig, policy: Policy, world: World) -> None:
        self._team = Team(config, policy, world.search, world.pages)

    async def answer(self, task: Task) -> str:
        """The team's final text. Raises `PolicyError`."""
        episode = await self._team.run(task)
        if episode.error:
            raise PolicyError(episode.error)
        return episode.answer


async def demonstrate(config: DemonstrateConfig) -> Counter[str]:
    """Writes the demonstrations; returns what became of the rollouts. Raises `DataError`."""
    counts = Counter[str]()
    total = config.invented_worlds + (config.data is not None)
    with file_atomically(config.file) as file, ProgressBar("demonstrations", total) as bar:
        async with open_judge(JudgeConfig()) as judge:
            for world, plans, is_real in _worlds(config):
                settings = _demonstrating(config, min_score=config.min_score if is_real else 0.0)
                made = Demonstrator(world, settings, judge if is_real else None)
                for plan in plans:
                    for item in await made.demonstrate(plan):
                        file.write(to_json(item).encode() + b"\n")
                        counts[f"conversations of a {item.agent}"] += 1
                counts.update(made.counts)
                bar.advance(1)
        if not counts["kept"]:
            outcomes = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            raise DataError(f"no demonstration is good enough: {outcomes}")
    return counts


def _demonstrating(config: DemonstrateConfig, *, min_score: float) -> Demonstrating:
    return Demonstrating(
        team=config.team,
        single_share=config.single_share,
        subagents_kept=config.subagents_kept,
        min_score=min_score,
        seed=config.seed,
    )


def _worlds(
    config: DemonstrateConfig,
) -> Iterator[tuple[TableWorld, list[PlannedTask], bool]]:
    """The worlds, what is asked in each, and whether its answers have to be right."""
    if config.data is not None:
        world = read_world(config.data, config.split, config.kinds)
        plans = [
            plan for plan in world.plans if not config.shapes or plan.recipe.shape in config.shapes
        ]
        if not plans:
            wanted = " and ".join(config.shapes or config.kinds)
            raise DataError(f"{config.data} has no {wanted} tasks in the split {config.split!r}")
        Random(config.seed).shuffle(plans)
        yield world, plans[: config.tasks], True
    for number in range(config.invented_worlds):
        seed = config.seed * 1_000_003 + number
        world = invent_tables(
            seed,
            InventedTables(
                amounts=INVENTED.amounts,
                max_rows=config.max_rows,
                missing_share=config.missing_share,
            ),
        )
        count = min(config.tasks_per_world, len(world.plans))
        yield world, Random(seed).sample(list(world.plans), count), False


def read_world(folder: Path, split: str, kinds: Sequence[str]) -> TableWorld:
    """The tables and pages of a data set, and its tasks of one split. Raises `DataError`."""
    shares = read_shares(folder)
    if split not in shares:
        raise DataError(f"{folder} has no split {split!r}; it has {', '.join(shares)}")
    plans = [
        plan
        for plan in read_plans(folder)
        if plan.recipe.kind in kinds and split_of(plan.entities, shares) == split
    ]
    tables = {table.id: table for table in read_tables(folder)}
    for plan in plans:
        for name in filter(None, (plan.recipe.table, plan.recipe.other)):
            if name not in tables:
                raise DataError(f"{folder}: task {plan.task.id} is on a table that is not there")
    return TableWorld(
        tables=tables,
        pages=tuple(read_stored_pages(folder)),
        plans=tuple(plans),
    )


class _Splits(BaseModel):
    splits: dict[str, float]


def read_shares(folder: Path) -> Mapping[str, float]:
    """The shares of the splits that a data set was built with. Raises `DataError`."""
    path = folder / CONFIG
    try:
        return _Splits.model_validate(read_config(path)).splits
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: {where}: {problem['msg']}") from None


def report_text(report: BuildReport, folder: Path) -> str:
    """What a build shows when it is done."""
    lines = [f"{name}: {count}" for name, count in report.files.items()]
    lines += [
        f"{step.name}: {step.kept} of {step.given}"
        + (
            f" ({', '.join(f'{count} {name}' for name, count in step.dropped.items())})"
            if step.dropped
            else ""
        )
        for step in report.steps
    ]
    for step in report.steps:
        lines += [f"  {step.name}: {count} {name}" for name, count in step.repaired.items()]
    if report.requests:
        lines.append(f"cost of {counted(report.requests, 'request')}: at most {report.paid}")
    return "\n".join([*lines, f"{folder} after {report.seconds:.0f} s"])
