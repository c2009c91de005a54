"""The two deciders that need no model: equal strings, and equal after normalization."""

from collections.abc import Sequence

from wideseek_judge.rules.short_answers import agrees
from wideseek_judge.text.canonical import canonical, same
from wideseek_judge.verdicts import (
    Alignment,
    Comparison,
    JudgingContext,
    KeyMap,
    PrefetchComparisons,
    Verdict,
)

_YES = Verdict(1.0, "exact")
_NO = Verdict(0.0, "exact")
_SAME = Verdict(1.0, "normalized")
_KINDS = {
    (kind, score): Verdict(score, kind)
    for kind in ("number", "date", "normalized")
    for score in (0.0, 1.0)
}


class ExactVerdicts:
    """Equal strings and nothing else; aligns nothing."""

    def identity(self, value: str) -> str:
        """The value itself."""
        return value

    async def align(
        self,
        context: JudgingContext,
        alignments: Sequence[Alignment],
        prefetch: PrefetchComparisons | None = None,
    ) -> list[KeyMap]:
        """Each value that is among the references, as itself."""
        return [
            {value: value for value in alignment.values if value in set(alignment.references)}
            for alignment in alignments
        ]

    async def compare(
        self, context: JudgingContext, columns: Sequence[Comparison]
    ) -> list[list[Verdict]]:
        """1 for equal strings."""
        return [
            [_YES if answer == gold else _NO for answer, gold in column.pairs] for column in columns
        ]

    async def correct(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> Verdict:
        """1 if the answer is one of the references."""
        return _YES if answer in references else _NO


class NormalizedVerdicts:
    """Equal after tidying text, numbers and dates."""

    def identity(self, value: str) -> str:
        """The canonical spelling."""
        return canonical(value)

    async def align(
        self,
        context: JudgingContext,
        alignments: Sequence[Alignment],
        prefetch: PrefetchComparisons | None = None,
    ) -> list[KeyMap]:
        """By canonical spelling; equal strings first."""
        return [align_by_spelling(alignment) for alignment in alignments]

    async def compare(
        self, context: JudgingContext, columns: Sequence[Comparison]
    ) -> list[list[Verdict]]:
        """1 for values that surely mean the same."""
        return [[compare_by_spelling(*pair) for pair in column.pairs] for column in columns]

    async def correct(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> Verdict:
        """1 if the answer surely means the same as a reference."""
        return _SAME if agrees(answer, references) else _KINDS["normalized", 0.0]


def align_by_spelling(alignment: Alignment) -> KeyMap:
    """The first reference of the same canonical spelling for each value; equal strings first."""
    exact = set(alignment.references)
    spelled: dict[str, str] = {}
    aligned: KeyMap = {}
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
    kind = {"n:": "number", "d:": "date"}.get(canonical(gold)[:2], "normalized")
    return _KINDS[kind, float(same(answer, gold))]
