"""What a build did: yield by step, counts, cost."""

from collections import Counter
from decimal import Decimal

from pydantic import Field

from wideseek_core import Record


class StepReport(Record):
    """One step: how many tasks went in, and what was dropped or repaired."""

    name: str
    given: int
    kept: int
    dropped: dict[str, int] = Field(default_factory=dict[str, int])
    """Dropped tasks by reason."""
    repaired: dict[str, int] = Field(default_factory=dict[str, int])
    """Tasks that were changed, and other facts that are counted."""


class SourceReport(Record):
    """What one source gave."""

    name: str
    license: str = ""
    attribution: str = ""
    tables: int
    pages: int
    refused: dict[str, int] = Field(default_factory=dict[str, int])
    """Tables that could not be used, by reason."""


class Difficulty(Record):
    """How well a policy answered tasks of one shape."""

    shape: str
    tasks: int
    mean: float


class OverlapReport(Record):
    """What the tasks share with one test set."""

    name: str
    dropped: dict[str, int] = Field(default_factory=dict[str, int])
    """Dropped tasks by what they shared: `title`, `text`, `entities`."""
    kept: dict[str, int] = Field(default_factory=dict[str, int])
    """Tasks that share entities with the set, by why they are no overlap."""


class BuildReport(Record):
    """Everything that the dataset card says."""

    sources: tuple[SourceReport, ...]
    steps: tuple[StepReport, ...]
    files: dict[str, int]
    """Lines of each file."""
    shapes: dict[str, int]
    """Tasks by kind and shape."""
    languages: dict[str, int]
    rows: dict[str, float] = Field(default_factory=dict[str, float])
    """Quantiles of the rows of wide tasks."""
    requests: int = 0
    """Requests to the rewriting model."""
    paid: Decimal = Decimal(0)
    """Cost of the rewriting, requests of unknown outcome at the most they can have cost."""
    seconds: float = Field(default=0.0, exclude=True)
    difficulty: tuple[Difficulty, ...] = ()
    overlaps: tuple[OverlapReport, ...] = ()
    """By test set."""


class StepCounter:
    """Counts the outcomes of one step while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.given = 0
        self.kept = 0
        self.dropped = Counter[str]()
        self.repaired = Counter[str]()

    def take(self, problem: str) -> bool:
        """Counts one task; whether it stays."""
        self.given += 1
        if problem:
            self.dropped[problem] += 1
        else:
            self.kept += 1
        return not problem

    def report(self) -> StepReport:
        """The counts so far."""
        return StepReport(
            name=self.name,
            given=self.given,
            kept=self.kept,
            dropped=dict(sorted(self.dropped.items())),
            repaired=dict(sorted(self.repaired.items())),
        )
