"""The dataset card: what the data holds, where it comes from, and what was left out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wideseek_core import DataError
from wideseek_core.counting import counted
from wideseek_core.files import read_objects
from wideseek_core.tables import MarkdownTable
from wideseek_data.building.report import BuildReport, Difficulty
from wideseek_data.tasks.recipes import PlannedTask

CARD = "README.md"


def card_text(report: BuildReport, title: str) -> str:
    """The card as Markdown."""
    return "\n\n".join(_parts(report, title)) + "\n"


def _parts(report: BuildReport, title: str) -> Iterator[str]:
    yield f"# {title}"
    yield (
        "Tasks for agents that search: wide questions whose answer is a table, and short "
        "questions. Every answer was computed from the tables, none was written by a model."
    )
    yield "## Sources"
    yield _table(
        ("Source", "License", "Attribution", "Tables", "Pages", "Tables refused"),
        [
            (item.name, item.license or "not stated", item.attribution or "not stated",
             str(item.tables), str(item.pages), _counts(item.refused))
            for item in report.sources
        ],
    )  # fmt: skip
    yield "## Files"
    yield _table(("File", "Lines"), [(name, str(count)) for name, count in report.files.items()])
    yield "## Tasks"
    yield _table(("Kind", "Tasks"), [(name, str(count)) for name, count in report.shapes.items()])
    yield f"Languages: {_counts(report.languages)}."
    if report.rows:
        quantiles = ", ".join(f"{name} {value:g}" for name, value in report.rows.items())
        yield f"Rows of wide tasks: {quantiles}."
    yield "## Yield by step"
    yield _table(
        ("Step", "Given", "Kept", "Dropped", "Noted"),
        [
            (step.name, str(step.given), str(step.kept),
             _counts(step.dropped), _counts(step.repaired))
            for step in report.steps
        ],
    )  # fmt: skip
    if report.overlaps:
        yield "## Test sets"
        yield (
            "Entities are the names of rows. Tasks are kept that share some of them with answers "
            "of a test set, but neither the table nor the question: names of nations or years "
            "stand in many tables."
        )
        yield _table(
            ("Test set", "Dropped for", "Kept, with shared entities"),
            [(item.name, _counts(item.dropped), _counts(item.kept)) for item in report.overlaps],
        )
    if report.requests:
        yield (
            f"Rewriting by a model: {counted(report.requests, 'request')}, "
            f"at most {report.paid} paid."
        )
    if report.difficulty:
        yield "## Difficulty"
        yield _table(
            ("Kind", "Tasks", "Mean score"),
            [(item.shape, str(item.tasks), f"{item.mean:.3f}") for item in report.difficulty],
        )


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return MarkdownTable(columns=columns, rows=tuple(rows)).markdown()


def _counts(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in counts.items()) or "-"


def difficulty(scores: Path | None, plans: Sequence[PlannedTask]) -> tuple[Difficulty, ...]:
    """Mean scores by kind and shape of the tasks that were scored. Raises `DataError`."""
    if scores is None:
        return ()
    known: dict[str, float] = {}
    for number, values in read_objects(scores):
        name, score = values.get("id"), values.get("score")
        if not isinstance(name, str) or not isinstance(score, int | float):
            raise DataError(f"{scores}:{number}: 'id' must be a string and 'score' a number")
        known[name] = float(score)
    found: dict[str, list[float]] = {}
    for plan in plans:
        if plan.task.id in known:
            shape = f"{plan.recipe.kind}/{plan.recipe.shape}"
            found.setdefault(shape, []).append(known[plan.task.id])
    return tuple(
        Difficulty(shape=shape, tasks=len(values), mean=sum(values) / len(values))
        for shape, values in sorted(found.items())
    )
