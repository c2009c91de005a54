"""Overlap with test sets, by entity and by text."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from wideseek_core import Config, TableGold
from wideseek_core.files import read_objects
from wideseek_core.tables import parse_table
from wideseek_data.tables.values import normalized
from wideseek_data.tasks.recipes import PlannedTask

WORDS = 8
"""Words in a row that two questions share by more than chance."""
MAX_SHARED = 0.5
"""Share of a question's word sequences that a test set may hold."""
MIN_ENTITY = 8
"""Characters of a name that is looked for in questions; shorter ones are words."""
COMMON = 0.02
"""Word sequences in a larger share of a test set's questions are phrases, not content."""


class TestSetConfig(Config):
    """A set of questions that no task may repeat: JSON lines with `question` or `query`."""

    __test__ = False  # the name is no test's

    name: str
    """Name of the set, for counts and the dataset card."""
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """What is looked for in one test set."""

    __test__ = False

    name: str
    text: str
    """All questions and short answers, normalized, between line breaks."""
    sequences: frozenset[str]
    """Word sequences of its questions."""
    key_sets: tuple[frozenset[str], ...]
    """The first cells of each reference table."""

    def problem(self, plan: PlannedTask) -> str:
        """How a task overlaps; "" if it does not."""
        if any(len(name) >= MIN_ENTITY and f" {name} " in self.text for name in plan.entities):
            return "entity"
        words = list(_sequences(normalized(plan.task.question)))
        shared = sum(item in self.sequences for item in words)
        if words and shared / len(words) > MAX_SHARED:
            return "text"
        gold = plan.task.gold
        keys = _keys(gold.text) if isinstance(gold, TableGold) else frozenset[str]()
        if len(keys) >= 3 and any(len(keys & known) > len(keys) / 2 for known in self.key_sets):
            return "rows"
        return ""


def read_test_set(config: TestSetConfig) -> TestSet:
    """A test set. Raises `DataError`."""
    questions: list[str] = []
    short: list[str] = []
    tables: list[frozenset[str]] = []
    for _, values in read_objects(config.path):
        question: object = values.get("question") or values.get("query") or ""
        questions.append(normalized(str(question)))
        answer: object = values.get("answer") or ""
        answers = cast(list[object], answer) if isinstance(answer, list) else [answer]
        for text in map(str, answers):
            keys = _keys(text)
            if keys:
                tables.append(keys)
            else:
                short.append(normalized(text))
    return TestSet(
        name=config.name,
        text="\n".join(f" {text} " for text in (*questions, *short)),
        sequences=_rare(questions),
        key_sets=tuple(tables),
    )


def _rare(questions: Sequence[str]) -> frozenset[str]:
    counts = Counter(item for text in questions for item in set(_sequences(text)))
    most = max(1, int(COMMON * len(questions)))
    return frozenset(item for item, count in counts.items() if count <= most)


def _sequences(text: str) -> Iterator[str]:
    words = text.split()
    for at in range(len(words) - WORDS + 1):
        yield " ".join(words[at : at + WORDS])


def _keys(text: str) -> frozenset[str]:
    table = parse_table(text) if "|" in text else None
    return frozenset(normalized(row[0]) for row in table.rows) if table else frozenset[str]()


def contamination(plan: PlannedTask, sets: Iterable[TestSet]) -> str:
    """The first overlap of a task with a test set, as `NAME: entity`; "" without one."""
    for known in sets:
        problem = known.problem(plan)
        if problem:
            return f"{known.name}: {problem}"
    return ""
