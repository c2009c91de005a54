"""Tables against reference tables, by the `strict` and the `reward` rules.

Rows are joined one to one by their keys; every cell of a joined row gets a score, whose item and
row sums make the figures.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from wideseek_core import (
    KEY_JOINT,
    CellScore,
    ColumnRule,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
)
from wideseek_judge.rules import strict
from wideseek_judge.rules.candidate_rows import Row
from wideseek_judge.rules.columns import choose_table, column_name
from wideseek_judge.rules.row_join import JUDGED, Grid, Join, gold_grid, join_rows
from wideseek_judge.rules.table_metrics import Counts, table_metrics
from wideseek_judge.verdicts import Alignment, Comparison, JudgingContext, Verdict, Verdicts

Pair = tuple[Row, Row]
"""Answer row and reference row."""

_KEY = Verdict(1.0, "key")


async def score_table(
    context: JudgingContext,
    gold: TableGold,
    answer: str,
    *,
    mode: Literal["strict", "reward"],
    verdicts: Verdicts,
) -> Score:
    """The score of an answer text against a reference table."""
    target = gold_grid(gold)
    if mode == "reward":
        target = replace(target, rules=(JUDGED,) * len(target.columns))
    table = choose_table(answer, target.columns, normalize=gold.normalize_columns)
    if table is None:
        return failed("no table in the answer")
    names = [column_name(name, normalize=gold.normalize_columns) for name in table.columns]
    positions: list[int | None] = [
        names.index(name) if name in names else None for name in target.columns
    ]
    if gold.normalize_columns:
        await _align_columns(context, names, target.columns, positions, verdicts)
    missing = [name for name, at in zip(target.columns, positions, strict=True) if at is None]
    if missing:
        return failed(f"columns missing: {', '.join(missing)}")
    taken = [at for at in positions if at is not None]
    rows = [tuple(row[at] for at in taken) for row in table.rows]
    if not rows:
        return failed("the table has no rows")
    if mode == "reward":
        rows = target.shortened(rows)
        target = replace(target, rows=target.shortened(target.rows))
    join = await join_rows(context, target, rows, verdicts, partial(_questions, target))
    scores = await _judge_cells(context, target, join, verdicts)
    return _explained(context, target, join, scores)


def failed(message: str) -> Score:
    """The score of an answer that holds no usable table."""
    return Score(state=ScoreState.FAILED, metrics=TableMetrics(), message=message)


def check_gold(gold: TableGold) -> None:
    """Raises `DataError` for a reference that no answer could be scored against."""
    gold_grid(gold)


async def _align_columns(
    context: JudgingContext,
    names: Sequence[str],
    columns: Sequence[str],
    positions: list[int | None],
    verdicts: Verdicts,
) -> None:
    """Fills in where a required column stands in the answer under another name."""
    wanted = [name for name, at in zip(columns, positions, strict=True) if at is None]
    spare = [name for name in dict.fromkeys(names) if name and name not in columns]
    if not wanted or not spare:
        return
    names_only = Alignment(column="", values=spare, references=wanted)
    (aligned,) = await verdicts.align(context, [names_only])
    for name in spare:
        found = aligned.get(name)
        if found in wanted and positions[columns.index(found)] is None:
            positions[columns.index(found)] = names.index(name)


async def _judge_cells(
    context: JudgingContext, target: Grid, join: Join, verdicts: Verdicts
) -> list[list[Verdict]]:
    """A verdict per required column and joined row; a cell's worst metric counts."""
    scores: list[list[Verdict]] = [[_KEY] * len(join.pairs) for _ in target.columns]
    for at, rule in enumerate(target.rules):
        metrics = [name for name in rule.metric if name != "llm_judge"]
        if at not in target.keys and metrics:
            scores[at] = [_worst(metrics, rule, *pair) for pair in _pairs(target, at, join.pairs)]
    questions = _questions(target, join.pairs)
    if not questions or not join.pairs:
        return scores
    for at, verdict in zip(
        _judged(target), await verdicts.compare(context, questions), strict=True
    ):
        scores[at] = [
            new if old is _KEY or new.score <= old.score else old
            for old, new in zip(scores[at], verdict, strict=True)
        ]
    return scores


def _questions(target: Grid, pairs: Sequence[Pair]) -> list[Comparison]:
    """What the judge is asked about joined rows, by column."""
    return [
        Comparison(
            column=target.columns[at],
            criterion=_criterion(target.rules[at]),
            pairs=_pairs(target, at, pairs),
        )
        for at in _judged(target)
    ]


def _judged(target: Grid) -> list[int]:
    """The columns that the judge has a say in."""
    return [
        at
        for at, rule in enumerate(target.rules)
        if at not in target.keys and ("llm_judge" in rule.metric or not rule.metric)
    ]


def _pairs(target: Grid, at: int, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """The cells of a column in joined rows, preprocessed."""
    cells = [(row[at], gold[at]) for row, gold in pairs]
    names = target.rules[at].preprocess
    if not names:
        return cells
    return [(strict.preprocess(one, names), strict.preprocess(two, names)) for one, two in cells]


def _worst(metrics: Sequence[str], rule: ColumnRule, answer: str, gold: str) -> Verdict:
    """The least verdict of the deterministic metrics."""
    found = [strict.decide(name, rule, answer, gold) for name in metrics]
    return min(found, key=lambda verdict: verdict.score)


def _criterion(rule: ColumnRule) -> str:
    return rule.criterion if isinstance(rule.criterion, str) else ""


def _explained(
    context: JudgingContext, target: Grid, join: Join, scores: Sequence[Sequence[Verdict]]
) -> Score:
    """The figures, and why each cell got its score."""
    cells: list[CellScore] = []
    item_score = row_score = 0.0
    for index, (row, gold) in enumerate(join.pairs):
        key = KEY_JOINT.join(target.key(gold))
        least = 1.0
        for at, column in enumerate(target.columns):
            verdict = scores[at][index]
            item_score += verdict.score
            least = min(least, verdict.score)
            cells.append(
                CellScore(
                    key=key,
                    column=column,
                    answer=row[at],
                    gold=gold[at],
                    score=verdict.score,
                    by=verdict.by,
                )
            )
        row_score += least
    counts = Counts(
        item_score=item_score,
        row_score=row_score,
        answer_rows=join.answer_rows,
        gold_rows=len(target.rows),
        columns=len(target.columns),
    )
    return Score(
        state=ScoreState.SCORED,
        metrics=table_metrics(counts),
        format_valid=True,
        cells=tuple(cells),
        missing_rows=tuple(KEY_JOINT.join(target.key(row)) for row in join.missing),
        extra_rows=tuple(KEY_JOINT.join(target.key(row)) for row in join.extra),
        judge_calls=context.calls,
    )
