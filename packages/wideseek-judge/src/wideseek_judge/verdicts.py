"""Who decides what the rules leave open, and the two who need no model to do so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wideseek_core import JudgeError
from wideseek_judge.answers import agrees
from wideseek_judge.canonical import canonical, same


class NoVerdict(JudgeError):
    """This answer could not be judged, another one may well be: it stays unscored."""


@dataclass(slots=True, kw_only=True)
class Case:
    """One answer under judgement, and what judging it has cost so far."""

    task_id: str
    question: str
    calls: int = 0
    official: bool = False
    """Whether the official rules hold: what a model's reply leaves out scores 0 instead of being
    asked for again, and several keys may be found to name one reference."""
    known: dict[str, int] = field(default_factory=dict[str, int])
    """What was decided along the way, before it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Find for each value the reference that means the same."""

    column: str
    """The key column; empty when the values are column names themselves."""
    values: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Say of each pair in a column whether the answer's cell is right."""

    column: str
    criterion: str
    """What counts as right; empty for "same meaning"."""
    pairs: Sequence[tuple[str, str]]
    """Answer and reference."""


Spelled = dict[str, str]
"""The reference for each value that has one; values without one are left out."""

Ahead = Callable[[Sequence[Spelled]], Sequence[Comparison]]
"""From the keys that are certain, by column, the comparisons that will probably follow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score in [0, 1], and what decided it."""

    score: float
    by: str


class Verdicts(Protocol):
    """Decides what the rules leave open. All methods raise `JudgeError`."""

    def identity(self, value: str) -> str:
        """A spelling that values share if they are surely the same."""
        ...

    async def align(
        self, case: Case, alignments: Sequence[Alignment], ahead: Ahead | None = None
    ) -> list[Spelled]:
        """What the values of each column are called in the reference.

        Who has to ask a model may put what comes `ahead` into the same request.
        """
        ...

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """A verdict per pair of each column."""
        ...

    async def correct(self, case: Case, answer: str, references: Sequence[str]) -> Verdict:
        """Whether a short answer is right."""
        ...


_YES = Verdict(1.0, "exact")
_NO = Verdict(0.0, "exact")
_SAME = Verdict(1.0, "normalised")
_KINDS = {
    (kind, score): Verdict(score, kind)
    for kind in ("number", "date", "normalised")
    for score in (0.0, 1.0)
}


class ExactVerdicts:
    """Equal strings and nothing else; aligns nothing."""

    def identity(self, value: str) -> str:
        """The value itself."""
        return value

    async def align(
        self, case: Case, alignments: Sequence[Alignment], ahead: Ahead | None = None
    ) -> list[Spelled]:
        """Each value that is among the references, as itself."""
        return [
            {value: value for value in one.values if value in set(one.references)}
            for one in alignments
        ]

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """1 for equal strings."""
        return [
            [_YES if answer == gold else _NO for answer, gold in column.pairs] for column in columns
        ]

    async def correct(self, case: Case, answer: str, references: Sequence[str]) -> Verdict:
        """1 if the answer is one of the references."""
        return _YES if answer in references else _NO


class NormalisedVerdicts:
    """Equal after tidying text, numbers and dates."""

    def identity(self, value: str) -> str:
        """The canonical spelling."""
        return canonical(value)

    async def align(
        self, case: Case, alignments: Sequence[Alignment], ahead: Ahead | None = None
    ) -> list[Spelled]:
        """By canonical spelling; equal strings first."""
        return [align_by_spelling(one) for one in alignments]

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """1 for values that surely mean the same."""
        return [[compare_by_spelling(*pair) for pair in column.pairs] for column in columns]

    async def correct(self, case: Case, answer: str, references: Sequence[str]) -> Verdict:
        """1 if the answer surely means the same as a reference."""
        return _SAME if agrees(answer, references) else _KINDS["normalised", 0.0]


def align_by_spelling(alignment: Alignment) -> Spelled:
    """The first reference of the same canonical spelling for each value; equal strings first."""
    exact = set(alignment.references)
    spelled: dict[str, str] = {}
    aligned: Spelled = {}
    for value in alignment.values:
        if value in exact:
            aligned[value] = value
            continue
        if not spelled:
            for reference in alignment.references:
                spelled.setdefault(canonical(reference), reference)
        found = spelled.get(canonical(value))
        if found is not None:
            aligned[value] = found
    return aligned


def compare_by_spelling(answer: str, gold: str) -> Verdict:
    """Whether two cells surely mean the same, and what kind of value they are."""
    if answer == gold:
        return _YES
    kind = {"n:": "number", "d:": "date"}.get(canonical(gold)[:2], "normalised")
    return _KINDS[kind, float(same(answer, gold))]
