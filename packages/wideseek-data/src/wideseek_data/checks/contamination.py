"""Overlap with test sets: by the table that is asked about, by text, and by entities.

A task is about the same table as a test question if the set names the table's title. Its entities
are the names of its rows. Nations, years and teams stand in many tables that have nothing else in
common, so a few shared entities are no overlap by themselves: `DecontaminationConfig` says from
where on they are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import Field

from wideseek_core import Config, TableGold
from wideseek_core.counting import counted
from wideseek_core.files import read_objects
from wideseek_core.tables import parse_table
from wideseek_data.tables.values import is_missing, normalized, read_amount, read_date
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe

WORDS = 8
"""Words in a row that two questions share by more than chance."""
MIN_TITLE = 8
"""Characters of a title that is looked for in questions; shorter ones are words."""
COMMON = 0.02
"""Word sequences in a larger share of a test set's questions are phrases, not content."""


class TestSetConfig(Config):
    """A set of questions that no task may repeat: JSON lines with `question` or `query`."""

    __test__ = False  # the name is no test's

    name: str
    """Name of the set, for counts and the dataset card."""
    path: Path


class DecontaminationConfig(Config):
    """From where on a task counts as shared with a test set, and is dropped."""

    titles: bool = True
    """Drop tasks on tables whose title a question or short answer of the set names."""
    text: float = Field(default=0.5, ge=0, le=1)
    """Drop tasks if more than this share of the word sequences of their question are in the set's
    questions; 1 drops none."""
    entities: float = Field(default=0.5, ge=0, le=1)
    """Drop tasks if more than this share of their entities are in one answer of the set. Entities
    are the names of rows in the answer and in the question; 1 drops none, and with
    `min_entities=1`, 0 drops every task that shares one."""
    min_entities: int = Field(default=3, ge=1)
    """Tasks with fewer entities are not dropped for them: one nation or year alone says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """What is looked for in one test set."""

    __test__ = False

    name: str
    text: str
    """All questions and short answers, normalized, between line breaks."""
    sequences: frozenset[str]
    """Word sequences of its questions."""
    answers: Mapping[str, tuple[int, ...]]
    """For each entity, the lines whose answers name it."""

    def problem(self, plan: PlannedTask, rule: DecontaminationConfig) -> str:
        """Why a task is to be dropped: `title`, `text`, `entities`; "" if it is not."""
        if rule.titles and any(
            len(name) >= MIN_TITLE and f" {name} " in self.text for name in plan.entities
        ):
            return "title"
        words = list(_sequences(normalized(plan.task.question)))
        shared = sum(item in self.sequences for item in words)
        if words and shared / len(words) > rule.text:
            return "text"
        names = entities(plan)
        if len(names) >= rule.min_entities and self.shared(names) / len(names) > rule.entities:
            return "entities"
        return ""

    def shared(self, names: Iterable[str]) -> int:
        """How many of the entities are in one answer of the set: the most of all answers."""
        counts = Counter(line for name in names for line in self.answers.get(name, ()))
        return max(counts.values(), default=0)

    def kept_for(self, plan: PlannedTask, rule: DecontaminationConfig) -> str:
        """Why a task that shares entities with the set is no overlap; "" if it shares none."""
        names = entities(plan)
        if not self.shared(names):
            return ""
        if len(names) < rule.min_entities:
            return f"fewer than {counted(rule.min_entities, 'entity')}"
        return f"at most {rule.entities:.0%} of their entities shared with one answer"


def entities(plan: PlannedTask) -> frozenset[str]:
    """The names of rows in a task's answer and question, normalized."""
    gold, recipe = plan.task.gold, plan.recipe
    if isinstance(gold, TableGold):
        return _first_cells(gold.text)
    keys = recipe.keys if isinstance(recipe, ShortRecipe) else ()
    return _names((*keys, *gold.answers))


def read_test_set(config: TestSetConfig) -> TestSet:
    """A test set. Raises `DataError`."""
    questions: list[str] = []
    short: list[str] = []
    answers: dict[str, list[int]] = defaultdict(list)
    for number, values in read_objects(config.path):
        question: object = values.get("question") or values.get("query") or ""
        questions.append(normalized(str(question)))
        answer: object = values.get("answer") or ""
        given = cast(list[object], answer) if isinstance(answer, list) else [answer]
        for text in map(str, given):
            names = _first_cells(text)
            if not names:
                short.append(normalized(text))
                names = _names([text])
            for name in names:
                answers[name].append(number)
    return TestSet(
        name=config.name,
        text="\n".join(f" {text} " for text in (*questions, *short)),
        sequences=_rare(questions),
        answers={name: tuple(dict.fromkeys(lines)) for name, lines in answers.items()},
    )


def _rare(questions: Sequence[str]) -> frozenset[str]:
    counts = Counter(item for text in questions for item in set(_sequences(text)))
    most = max(1, int(COMMON * len(questions)))
    return frozenset(item for item, count in counts.items() if count <= most)


def _sequences(text: str) -> Iterator[str]:
    words = text.split()
    for at in range(len(words) - WORDS + 1):
        yield " ".join(words[at : at + WORDS])


def _first_cells(text: str) -> frozenset[str]:
    """The names of a table's rows; empty for a text that is no table."""
    table = parse_table(text) if "|" in text else None
    cells = [row[0] for row in table.rows] if table else []
    return frozenset(filter(None, map(normalized, cells)))


def _names(texts: Iterable[str]) -> frozenset[str]:
    """The texts that name something: no numbers, sums of money or dates."""
    return frozenset(
        name
        for text in texts
        if not is_missing(text) and read_amount(text) is None and read_date(text) is None
        if (name := normalized(text))
    )


def contamination(
    plan: PlannedTask, sets: Iterable[TestSet], rule: DecontaminationConfig | None = None
) -> str:
    """The first overlap of a task with a test set, as `NAME: title`; "" without one."""
    for known in sets:
        problem = known.problem(plan, rule or DecontaminationConfig())
        if problem:
            return f"{known.name}: {problem}"
    return ""
