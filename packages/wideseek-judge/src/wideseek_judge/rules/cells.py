"""The cells of joined rows: what is compared, by which rule, and with which verdict."""

from collections.abc import Sequence

from wideseek_core import ColumnRule
from wideseek_judge.rules import comparators
from wideseek_judge.rules.reference import Reference, Row
from wideseek_judge.verdicts import Comparison, JudgingContext, Verdict, Verdicts

Pair = tuple[Row, Row]
"""Answer row and reference row."""

_KEY = Verdict(1.0, "key")


def judge_questions(reference: Reference, pairs: Sequence[Pair]) -> list[Comparison]:
    """What the judge is asked about joined rows, by column."""
    return [
        Comparison(
            column=reference.columns[at],
            criterion=_instruction(reference.rules[at]),
            pairs=_cells(reference, at, pairs),
        )
        for at in reference.judged
    ]


async def cell_verdicts(
    context: JudgingContext, reference: Reference, pairs: Sequence[Pair], verdicts: Verdicts
) -> list[list[Verdict]]:
    """A verdict per required column and joined row; of a cell's comparators the lowest counts."""
    found = [_by_rule(reference, at, pairs) for at in range(len(reference.columns))]
    questions = judge_questions(reference, pairs)
    if not questions or not pairs:
        return found
    judged = await verdicts.compare(context, questions)
    for at, by_judge in zip(reference.judged, judged, strict=True):
        found[at] = list(map(_lower, found[at], by_judge))
    return found


def _by_rule(reference: Reference, at: int, pairs: Sequence[Pair]) -> list[Verdict]:
    """The verdicts of a column's own comparators; keys are right, since the rows are joined."""
    rule = reference.rules[at]
    names = [name for name in rule.metric if name != "llm_judge"]
    if at in reference.keys or not names:
        return [_KEY] * len(pairs)
    return [_lowest(names, rule, *cells) for cells in _cells(reference, at, pairs)]


def _cells(reference: Reference, at: int, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """The cells of a column in joined rows, preprocessed."""
    names = reference.rules[at].preprocess
    cells = [(row[at], gold[at]) for row, gold in pairs]
    if not names:
        return cells
    prepare = comparators.preprocess
    return [(prepare(answer, names), prepare(gold, names)) for answer, gold in cells]


def _lowest(names: Sequence[str], rule: ColumnRule, answer: str, gold: str) -> Verdict:
    found = [comparators.decide(name, rule, answer, gold) for name in names]
    return min(found, key=lambda verdict: verdict.score)


def _lower(by_rule: Verdict, by_judge: Verdict) -> Verdict:
    """The judge's verdict, unless a comparator is harder."""
    return by_judge if by_rule is _KEY or by_judge.score <= by_rule.score else by_rule


def _instruction(rule: ColumnRule) -> str:
    return rule.criterion if isinstance(rule.criterion, str) else ""
